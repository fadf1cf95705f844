from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest

import simfl
from simfl.registry import SELECTION
from simfl.selection.base import Candidate, Pool

NAMES = SELECTION.names()


def candidate(index: int, **known: Any) -> Candidate:
    fields = {"samples": 10, "compute_s": 1.0 + index % 4, "last_round": 0}
    return Candidate(index=index, **{**fields, "duration_s": None, "loss": None, **known})


def pool(candidates: list[Candidate], size: int, number: int = 1, seed: int = 3) -> Pool:
    known = {c.index: c for c in candidates}
    ask = known.__getitem__
    return Pool(clients=sorted(known), size=size, number=number, seed=seed, ask=ask)


def chosen(name: str, pool: Pool, **options: Any) -> list[int]:
    plugin = SELECTION.get(name)
    return list(plugin.build(plugin.options(**options), pool))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 4, 9])
@pytest.mark.parametrize("known", [0, 3, 9])
def test_each_of_the_chosen_is_there_and_chosen_once(name: str, size: int, known: int) -> None:
    seen = {"duration_s": 2.0, "loss": 0.5, "last_round": 1}
    candidates = [candidate(i * 3, **(seen if i < known else {})) for i in range(9)]
    found = chosen(name, pool(candidates, size, number=4))
    assert len(found) == len(set(found)) == (9 if name == "all" else size)
    assert set(found) <= {c.index for c in candidates}
    assert chosen(name, pool(candidates, size, number=4)) == found


def test_chance_is_the_rounds_own() -> None:
    candidates = [candidate(i) for i in range(30)]
    rounds = [sorted(chosen("random", pool(candidates, 5, number=n))) for n in range(1, 200)]
    assert len({tuple(one) for one in rounds}) > 150
    counts = [sum(i in one for one in rounds) for i in range(30)]
    # 199 draws of a sixth: 33, five standard deviations of 5
    assert all(7 < count < 60 for count in counts)
    assert sorted(chosen("random", pool(candidates, 5, seed=4))) != rounds[0]


def test_who_waited_longest_comes_first() -> None:
    candidates = [candidate(i, last_round=n) for i, n in enumerate([4, 0, 2, 0, 3])]
    assert chosen("round_robin", pool(candidates, 3)) == [1, 3, 2]


def test_the_fastest_by_what_was_seen_or_else_counted() -> None:
    seconds = [(5.0, None), (1.0, 9.0), (3.0, None), (8.0, 2.0)]
    candidates = [candidate(i, compute_s=c, duration_s=d) for i, (c, d) in enumerate(seconds)]
    assert sorted(chosen("by_speed", pool(candidates, 2))) == [2, 3]
    for number in range(9):
        found = chosen("by_speed", pool(candidates, 2, number=number), explore=0.5)
        assert 3 in found


def test_oort_explores_the_fastest_and_exploits_the_most_useful() -> None:
    new = [candidate(i, compute_s=float(9 - i)) for i in range(5)]
    assert sorted(chosen("oort", pool(new, 2))) == [3, 4]
    losses = [0.1, 3.0, 0.2, 2.9]
    tried = [candidate(i, loss=x, duration_s=1.0, last_round=1) for i, x in enumerate(losses)]
    # clip nothing: only the two largest are above the cut-off
    assert sorted(chosen("oort", pool(tried, 2, number=2), clip=1.0)) == [1, 3]
    slow = [*tried[:1], candidate(1, loss=3.0, duration_s=10.0, last_round=1), *tried[2:]]
    # a hundredth of its utility is left: (1 / 10) squared
    assert sorted(chosen("oort", pool(slow, 2, number=2), clip=1.0)) == [2, 3]


def test_oorts_utility_by_hand() -> None:
    from simfl.selection.oort import OortOptions, _utilities

    tried = [
        candidate(0, samples=10, loss=2.0, duration_s=4.0, last_round=2),
        candidate(1, samples=30, loss=1.0, duration_s=2.0, last_round=5),
        candidate(2, samples=40, loss=0.5, duration_s=8.0, last_round=5),
    ]
    found = _utilities(OortOptions(clip=1.0), tried, 6)
    bonus = {n: sqrt(0.1 * log(6) / n) for n in (2, 5)}
    # the median duration, 4 s, is preferred
    assert found[0] == pytest.approx(20 / 30 + bonus[2])
    assert found[1] == pytest.approx(30 / 30 + bonus[5])
    assert found[2] == pytest.approx((20 / 30 + bonus[5]) * (4 / 8) ** 2)


@pytest.mark.parametrize("selection", ["oort", "by_speed", "round_robin", "all"])
def test_a_run_chooses_so_and_is_timed_again_without_training(
    tmp_path: Path, selection: str
) -> None:
    changes = [f"selection={selection}", "protocol.rounds=4", "learning.model={name: lenet5}"]
    changes += ["platform.devices.pi4.count=4", "platform.devices.pi3={model: pi3, count: 2}"]
    loaded = simfl.load("smoke/fedavg_access_links", changes)
    trace = simfl.run(loaded, out=tmp_path / "run.h5", store=False, executor="inline")
    trained = trace.activities[trace.activities["verb"] == "train"]
    cohorts = trained.groupby("round")["node"].apply(lambda nodes: sorted(set(nodes)))
    size = 6 if selection == "all" else 3
    assert all(len(cohort) == size for cohort in cohorts)
    if selection == "by_speed":
        assert not trained["node"].str.startswith("pi3").any()
    if selection == "round_robin":
        assert len({*cohorts[1], *cohorts[2]}) == 6
    losses = trace.metrics
    assert len(losses) == (12 if selection == "oort" else 0)
    assert (losses["value"] > 0).all()
    [row] = simfl.whatif(trace.path, "platform.variation.draw=0").to_dict("records")
    assert row["anew"] == 0
    assert row["time_s"] == trace.activities["end_s"].max()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_diverged_client_takes_nobodys_place(bad: float, size: int) -> None:
    losses = [1.0, bad, 2.0, 3.0]
    tried = [candidate(i, loss=x, duration_s=1.0, last_round=1) for i, x in enumerate(losses)]
    found = chosen("oort", pool(tried, size, number=5), explore=0.0, explore_least=0.0)
    assert len(set(found)) == size
