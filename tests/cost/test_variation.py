"""Possible worlds: three factors and throttling, drawn by logical coordinates."""

from collections.abc import Iterator
from dataclasses import replace
from math import log, sqrt
from random import Random
from statistics import NormalDist, correlation, fmean, median, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simfl.cost.device import Device
from simfl.cost.variation import Realization, Unit, lognormal, uniform
from simfl.work import Workload

SOURCE = {"kind": "measured", "source": "the bench in the corner"}
DOUBT = SOURCE | {"log_sd": 0.1}
SDS = {"model": 0.13, "unit": 0.07, "step": 0.05}
ONE_STEP = Workload(model="lenet", steps=1)
WORLD = Realization(seed=1, draw=1)


def device(name: str = "bench", cost: Any = None, **variation: Any) -> Device:
    """A board of one second a step."""
    return Device.model_validate(
        {
            "name": name,
            "description": "one second a step",
            "stack": "none",
            "ram": {"value": "1 GiB", **DOUBT},
            "cost": cost or {"kind": "compact", "train": {"step": {"value": "1 s", **DOUBT}}},
            "memory_rate": {"value": "1 GB/s", **DOUBT},
            "variation": {
                name: {"value": value, **SOURCE} if isinstance(value, float) else value
                for name, value in variation.items()
            },
        }
    )


def unit(node: str = "a", *, world: Realization = WORLD, **variation: Any) -> Unit:
    found = world.unit_of(device(**variation), node)
    assert found is not None
    return found


def seconds(board: Unit, work: Workload = ONE_STEP, round: int = 1, at_s: float = 0.0) -> float:
    """What one second a step takes here."""
    return board.seconds(work, float(work.steps), "train", round, at_s)


def logs(values: Iterator[float] | list[float]) -> list[float]:
    return [log(value) for value in values]


def is_normal(values: list[float], sd: float) -> None:
    """Mean 0, that standard deviation, and the quartiles of a normal distribution."""
    n = len(values)
    assert fmean(values) == pytest.approx(0, abs=4 * sd / sqrt(n))
    assert stdev(values) == pytest.approx(sd, rel=4 / sqrt(2 * n))
    below = sum(value < NormalDist(0, sd).inv_cdf(0.25) for value in values) / n
    assert below == pytest.approx(0.25, abs=4 * sqrt(0.25 * 0.75 / n))


def test_the_central_estimate_has_no_units() -> None:
    world = Realization(seed=7)
    assert world.unit_of(device(**SDS), "a") is None
    assert world.network_seed == 7
    assert len({replace(world, draw=n).network_seed for n in range(100)}) == 100


def test_numbers_are_uniform_and_apart_from_both_ends() -> None:
    found = sorted(uniform(3, "test", n) for n in range(10_000))
    assert 0 < found[0] < found[-1] < 1
    # Kolmogorov and Smirnov, at 1 in 1,000
    assert max(abs(u - n / 10_000) for n, u in enumerate(found)) < 1.95 / sqrt(10_000)


def test_factors_have_the_files_standard_deviations() -> None:
    is_normal(logs(lognormal(0.4, 1, "test", n) for n in range(10_000)), 0.4)
    is_normal(logs([seconds(unit(f"n{n}", unit=0.07)) for n in range(10_000)]), 0.07)
    a = unit(step=0.05)
    is_normal(logs([seconds(a, round=n) for n in range(10_000)]), 0.05)
    worlds = [Realization(seed=1, draw=n) for n in range(1, 10_001)]
    is_normal(logs([seconds(unit(world=world, model=0.13)) for world in worlds]), 0.13)


@pytest.mark.parametrize("steps", [4, 100])
def test_the_jitter_of_steps_averages_out_and_the_rest_does_not(steps: int) -> None:
    work = Workload(model="lenet", steps=steps)
    a = unit(step=0.05)
    found = [seconds(a, work, round=n) / steps for n in range(4_000)]
    is_normal(logs(found), 0.05 / sqrt(steps))
    for kind in ("model", "unit"):
        b = unit(**{kind: SDS[kind]})
        assert len({seconds(b, Workload(model="lenet", steps=n)) / n for n in (1, 4, 64)}) == 1


def test_a_models_error_is_that_of_its_network_and_all_its_boards() -> None:
    nodes = [unit(f"n{n}", model=0.13) for n in range(20)]
    assert len({seconds(node) for node in nodes}) == 1
    others = {seconds(nodes[0], replace(ONE_STEP, model=m)) for m in ("lenet", "vgg", "resnet")}
    assert len(others) == 3
    sibling = WORLD.unit_of(device("other", model=0.13), "n0")
    assert sibling is not None
    assert seconds(sibling) != seconds(nodes[0])


def test_each_source_can_be_switched_off_and_leaves_the_others_as_they_were() -> None:
    whole = seconds(unit(**SDS))
    alone = {kind: seconds(unit(**{kind: SDS[kind]})) for kind in SDS}
    assert whole == pytest.approx(alone["model"] * alone["unit"] * alone["step"], rel=1e-12)
    for kind in SDS:
        off = seconds(unit(world=replace(WORLD, **{kind: False}), **SDS))
        assert off == pytest.approx(whole / alone[kind], rel=1e-12)
    still = Realization(seed=1, draw=1, model=False, unit=False, step=False, throttling=False)
    assert seconds(unit(world=still, **SDS)) == 1


def test_the_sources_are_independent() -> None:
    kinds = list(SDS)
    drawn = {
        kind: logs(
            seconds(unit(world=Realization(seed=1, draw=n), **{kind: SDS[kind]}))
            for n in range(1, 5_001)
        )
        for kind in kinds
    }
    for n, one in enumerate(kinds):
        for other in kinds[n + 1 :]:
            assert abs(correlation(drawn[one], drawn[other])) < 4 / sqrt(5_000)


def test_worlds_and_seeds_differ() -> None:
    found = {
        seconds(unit(world=Realization(seed=seed, draw=draw), unit=0.07))
        for seed in range(10)
        for draw in range(1, 11)
    }
    assert len(found) == 100


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_10000_durations_in_any_order(seed: int) -> None:
    """By node, verb and round; within one, by how often the node has done that."""
    asked = [(f"n{n}", verb, r) for n in range(50) for verb in ("train", "mix") for r in range(50)]
    asked *= 2

    def play(turns: list[tuple[str, str, int]]) -> dict[tuple[str, str, int], list[float]]:
        nodes = {name: unit(name, **SDS) for name, _, _ in asked}
        found: dict[tuple[str, str, int], list[float]] = {}
        for name, verb, r in turns:
            took_s = nodes[name].seconds(ONE_STEP, 1.0, verb, r, 0.0)
            found.setdefault((name, verb, r), []).append(took_s)
        return found

    first = play(asked)
    shuffled = asked[:]
    Random(seed).shuffle(shuffled)
    assert play(shuffled) == first
    assert len({took_s for several in first.values() for took_s in several}) == 10_000


def throttling(*states: tuple[float, float, str | None]) -> list[dict[str, Any]]:
    return [
        {"share": {"value": share, **DOUBT}, "speed": {"value": speed, **DOUBT}}
        | ({"after": {"value": after, **DOUBT}} if after else {})
        for share, speed, after in states
    ]


def test_each_state_of_throttling_has_its_share_of_the_boards() -> None:
    states = throttling((0.3, 0.5, None), (0.1, 0.25, None))
    found = [seconds(unit(f"n{n}", throttling=states)) for n in range(10_000)]
    for took_s, share in ((2.0, 0.3), (4.0, 0.1), (1.0, 0.6)):
        at = found.count(took_s) / 10_000
        assert at == pytest.approx(share, abs=4 * sqrt(share * (1 - share) / 10_000))
    cold = replace(WORLD, throttling=False)
    assert {seconds(unit(f"n{n}", world=cold, throttling=states)) for n in range(100)} == {1.0}


def test_a_throttled_board_slows_down_when_it_has_computed_for_long() -> None:
    a = unit(throttling=throttling((1.0, 0.5, "10 s")))
    now_s, took = 0.0, []
    for r in range(6):
        took_s = seconds(a, Workload(steps=4), r, now_s)
        a.computed(now_s, now_s + took_s)
        now_s += took_s + 1
        took.append(took_s)
    # 4, less a rest of 1 between two: 3 more each time, and 10 at the third
    assert took == [4, 4, 4, 1 + 3 / 0.5, 1 + 3 / 0.5, 1 + 3 / 0.5]


SAMPLES = [0.5, 0.7, 1.1, 3.7]
TRACE = {
    "kind": "trace",
    "samples": [
        {
            "model": "lenet",
            "batch": 20,
            "steps": {"values": [f"{value} s" for value in SAMPLES], **SOURCE},
        }
    ],
}


def test_measured_steps_are_drawn_in_the_place_of_jitter() -> None:
    work = Workload(model="lenet", steps=1, samples=20, batch=20, moved_bytes=10**9)
    board = device(cost=TRACE, step=0.5)
    central_s = board.seconds(work)
    assert central_s == pytest.approx(fmean(SAMPLES) + 1)
    a = WORLD.unit_of(board, "a")
    assert a is not None
    found = [round(a.seconds(work, central_s, "train", r, 0.0) - 1, 9) for r in range(4_000)]
    for value in SAMPLES:
        assert found.count(value) / 4_000 == pytest.approx(0.25, abs=4 * sqrt(3 / 16 / 4_000))
    ten = replace(work, steps=10, samples=200)
    b = WORLD.unit_of(board, "b")
    assert b is not None
    sums = [b.seconds(ten, board.seconds(ten), "train", r, 0.0) - 1 for r in range(4_000)]
    spread = sqrt(10 * fmean([(value - fmean(SAMPLES)) ** 2 for value in SAMPLES]))
    assert fmean(sums) == pytest.approx(10 * fmean(SAMPLES), abs=4 * spread / sqrt(4_000))
    assert stdev(sums) == pytest.approx(spread, rel=0.1)
    still = replace(WORLD, step=False).unit_of(board, "a")
    assert still is not None
    assert still.seconds(work, central_s, "train", 1, 0.0) == central_s


def test_what_moves_memory_only_varies_too() -> None:
    work = Workload(moved_bytes=10**9)
    a = unit(**SDS)
    found = [a.seconds(work, 1.0, "adopt", r, 0.0) for r in range(400)]
    assert stdev(logs(found)) == pytest.approx(0.05, rel=0.2)
    assert median(found) != pytest.approx(1, rel=1e-3)
