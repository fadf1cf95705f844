"""Engines for flows, against closed forms, the definition of fairness, and the slow reference."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise, permutations
from math import inf
from random import Random

import pytest
from flow_cases import (
    Capacity,
    Change,
    Make,
    Start,
    Step,
    Watched,
    compiled,
    graph,
    networks,
    play,
    star,
)
from hypothesis import given
from hypothesis import strategies as st
from plain_flows import PlainFlows

from simfl.cost.bundles import Bundles
from simfl.cost.compiled import CompiledFlows
from simfl.cost.fair import MANY_BUNDLES, fitting


@pytest.fixture(scope="session", autouse=True)
def _compile_once() -> None:
    """Some seconds, where nothing is cached yet, that no test is to be charged for."""
    flows = compiled([1.0])
    flows.cut(0.0, flows.start(0.0, (0,), (1.0,), 1.0))
    flows.start(0.0, (0,), (1.0,), 1.0)
    assert flows.ended(flows.next_end_s()) == [1]


engines = pytest.mark.parametrize("make", [Bundles, compiled, PlainFlows])


def times(make: Make, capacity: Sequence[float], steps: Sequence[Step]) -> list[float]:
    ends = play(make(capacity), steps)
    return [ends[place] for place in sorted(ends)]


def at(*seconds: float) -> object:
    return pytest.approx(list(seconds), rel=1e-9, abs=0)


# -- closed forms


@engines
@pytest.mark.parametrize("bits", [1.0, 1e3, 8e6, 1e12])
def test_one_flow_takes_its_bits_over_the_least_rate(make: Make, bits: float) -> None:
    flow = Start(0, (0, 1), bits, usage=(1.046, 1.0))
    assert times(make, [10e6, 20e6], [flow]) == at(bits * 1.046 / 10e6)


@engines
@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_n_equal_flows_take_n_times_as_long(make: Make, n: int) -> None:
    flows = [Start(0, (0, 1 + i), 8e6) for i in range(n)]
    assert times(make, [10e6] + [50e6] * n, flows) == at(*[n * 0.8] * n)


@engines
def test_staggered_arrivals(make: Make) -> None:
    # at 1 s: 20 left of the first; at 2 s: 15, 10 and 5; then thirds, halves, all
    flows = [Start(0, (0,), 30), Start(1, (0,), 15), Start(2, (0,), 5)]
    assert times(make, [10], flows) == at(5.0, 4.5, 3.5)


@engines
def test_staggered_arrivals_of_equal_flows(make: Make) -> None:
    # one a second, of 1.5 seconds each when alone: 5 each from 1 s on, the first over at 2 s
    flows = [Start(float(k), (0,), 15.0) for k in range(4)]
    assert times(make, [10], flows[:2]) == at(2.0, 3.0)
    # 2 s to 3 s: 5 and 10 left; from 3 s on thirds: the second over at 4.5 s, then 5 left of the
    # third and 10 of the fourth: over at 5.5 s and 6 s
    assert times(make, [10], flows) == at(2.0, 4.5, 5.5, 6.0)


@engines
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_two_bottlenecks(make: Make, order: Sequence[int]) -> None:
    # 2 each for the two on the first link, 6 for the one that is alone on the second with the
    # long flow; the short one over at 1 s, then the long one has 4, the other 4
    flows = [Start(0, (0, 1), 10), Start(0, (0,), 2), Start(0, (1,), 14)]
    ends = play(make([4, 8]), [flows[i] for i in order])
    assert [ends[order.index(i)] for i in range(3)] == at(3.0, 1.0, 3.0)


@engines
def test_a_half_duplex_cell_with_unequal_stations(make: Make) -> None:
    # airtime per bit 1/6 and 1/12: both at 4 until 1 s, then the fast one has its 12
    flows = [
        Start(0, (0,), 4e6, usage=(1 / 6e6,)),
        Start(0, (0,), 28e6, usage=(1 / 12e6,)),
    ]
    assert times(make, [1.0], flows) == at(1.0, 3.0)


@engines
def test_the_rate_changes_in_mid_flow(make: Make) -> None:
    rates = [Capacity(1, 0, 4), Capacity(2, 0, 0), Capacity(5, 0, 20)]
    assert times(make, [10], [Start(0, (0,), 24), *rates]) == at(5.5)
    # 12 are left of each, at 10 each
    assert times(make, [10], [Start(0, (0,), 19), Start(0, (0,), 19), *rates]) == at(6.2, 6.2)


@engines
def test_an_outage_that_lasts(make: Make) -> None:
    flows = make([10.0, 10.0])
    for _ in range(2):
        flows.start(0.0, (0, 1), (1.0, 1.0), 50.0)
    flows.set_capacity(1.0, 1, 0.0)
    assert flows.next_end_s() == inf
    assert flows.ended(1e6) == []
    assert flows.cut(1e6, 0) == pytest.approx(45.0, rel=1e-12)
    assert flows.rate_bps(1) == 0.0


@engines
def test_weights(make: Make) -> None:
    # 1 : 3 until 1 s; then the first has all
    flows = [Start(0, (0,), 12.5), Start(0, (0,), 7.5, weight=3)]
    assert times(make, [10], flows) == at(2.0, 1.0)
    # from 0.5 s on 1 : 1
    change = Change(0.5, 1, weight=1)
    assert times(make, [10], [*flows, change]) == at(2.0, 1.25)


@engines
def test_caps(make: Make) -> None:
    flows = [Start(0, (0,), 4, cap_bps=2), Start(0, (0,), 24), Start(0, (0,), 12, cap_bps=7)]
    # 2, 4, 4 until 2 s; then 5 and 5 until 2.8 s
    assert times(make, [10], flows) == at(2.0, 4.0, 2.8)
    # the cap that is lifted at 1 s: 2 left, at 10/3
    assert times(make, [10], [*flows, Change(1, 0, cap_bps=inf)])[0] == pytest.approx(1.6)


@engines
def test_a_cap_alone_needs_no_link(make: Make) -> None:
    assert times(make, [1.0], [Start(0, (), 10, cap_bps=4), Start(1, (0,), 1)]) == at(2.5, 2.0)


@engines
def test_a_cut_gives_the_share_back(make: Make) -> None:
    flows = make([10.0])
    for bits in (20.0, 100.0):
        flows.start(0.0, (0,), (1.0,), bits)
    assert flows.cut(2.0, 1) == pytest.approx(90.0, rel=1e-12)
    assert flows.next_end_s() == pytest.approx(3.0, rel=1e-12)
    assert flows.ended(3.0) == [0]
    assert flows.carried(3.0) == [pytest.approx(30.0, rel=1e-12)]
    assert len(flows) == 0


@engines
def test_as_many_as_come_are_gone_without_a_trace(make: Make) -> None:
    # sums of what came and went must not remember it
    capacity = [1e9] + [3e8] * 300
    flows = make(capacity)
    for i in range(300):
        flows.start(0.0, (0, 1 + i), (1.046, 1.046), 8e6 * (1 + i / 7), weight=1 + i / 3)
    for i in range(299):
        flows.cut(0.001, i)
    assert flows.rate_bps(299) == pytest.approx(3e8 / 1.046, rel=1e-15)
    flows.start(0.001, (0,), (1.046,), 1e6)
    assert flows.rate_bps(300) == pytest.approx(1e9 / 1.046 - 3e8 / 1.046, rel=1e-15)


# -- networks at random


def feasible_fair_and_work_conserving(
    capacity: Sequence[float], flows: dict[int, Start], rates: dict[int, float]
) -> None:
    loads = [0.0] * len(capacity)
    for number, flow in flows.items():
        assert 0 <= rates[number] <= flow.cap_bps * (1 + 1e-12)
        for link, usage in zip(flow.links, flow.usage, strict=True):
            loads[link] += usage * rates[number]
    for load, size in zip(loads, capacity, strict=True):
        assert load <= size * (1 + 1e-12)
    for number, flow in flows.items():
        # Bertsekas and Gallager: each has a full link on which nobody has more for its weight,
        # or is at its cap; so nobody can gain but at the cost of who has no more
        level = rates[number] / flow.weight
        assert rates[number] >= flow.cap_bps * (1 - 1e-12) or any(
            loads[link] >= capacity[link] * (1 - 1e-11)
            and all(
                rates[other] / theirs.weight <= level * (1 + 1e-9)
                for other, theirs in flows.items()
                if link in theirs.links
            )
            for link in flow.links
        )


@engines
@given(drawn=networks())
def test_feasible_max_min_fair_and_work_conserving(
    make: Make, drawn: tuple[list[float], list[Step]]
) -> None:
    capacity, steps = drawn
    play(Watched(make(capacity), capacity, feasible_fair_and_work_conserving), steps)


@pytest.mark.parametrize("make", [Bundles, compiled])
@given(drawn=networks())
def test_as_the_slow_reference(make: Make, drawn: tuple[list[float], list[Step]]) -> None:
    capacity, steps = drawn
    flows, plain = make(capacity), PlainFlows(capacity)
    ends, expected = play(flows, steps), play(plain, steps)
    assert ends == pytest.approx(expected, rel=1e-9, abs=1e-9)
    last_s = max([step.at_s for step in steps] + list(ends.values()) + list(expected.values()))
    carried = flows.carried(last_s)
    assert carried == pytest.approx(plain.carried(last_s), rel=1e-9, abs=1e-9 * max(capacity))


@given(drawn=networks())
def test_both_engines_give_the_same_numbers(drawn: tuple[list[float], list[Step]]) -> None:
    capacity, steps = drawn
    ends = play(Bundles(capacity), steps)
    assert ends == pytest.approx(play(compiled(capacity), steps), rel=1e-12, abs=1e-12)


@engines
@given(drawn=networks(), random=st.randoms(use_true_random=False))
def test_the_order_of_what_happens_at_one_instant_does_not_matter(
    make: Make, drawn: tuple[list[float], list[Step]], random: Random
) -> None:
    capacity, steps = drawn
    # starts and rates only: cuts and changes name flows by the order of starts
    kept: list[Step] = [step for step in steps if isinstance(step, Start)]
    places = list(range(len(kept)))
    random.shuffle(places)
    ends = play(make(capacity), kept)
    shuffled = play(make(capacity), [kept[place] for place in places])
    back = {places[place]: end_s for place, end_s in shuffled.items()}
    assert back == pytest.approx(ends, rel=1e-12, abs=1e-12)


@engines
@given(drawn=networks())
def test_what_links_carry_is_what_flows_move(
    make: Make, drawn: tuple[list[float], list[Step]]
) -> None:
    capacity, steps = drawn
    starts = [step for step in steps if isinstance(step, Start)]
    flows = make(capacity)
    ends = play(flows, starts)
    expected = [0.0] * len(capacity)
    for start in starts:
        for link, usage in zip(start.links, start.usage, strict=True):
            expected[link] += usage * start.bits
    assert flows.carried(max(ends.values())) == pytest.approx(expected, rel=1e-9)


# -- a star, a graph, and from one engine to the other


def test_a_star_of_a_hundred_clients() -> None:
    capacity, steps = star(100, Random(1))
    ends = play(Bundles(capacity), steps)
    assert len(ends) == 200
    assert ends == pytest.approx(play(compiled(capacity), steps), rel=1e-11)
    assert ends == pytest.approx(play(PlainFlows(capacity), steps), rel=1e-9)


def test_a_graph_goes_over_to_the_compiled_engine_in_mid_flow() -> None:
    capacity, steps = graph(60, 2 * MANY_BUNDLES, Random(2))

    class Fitting(Watched):
        def next_end_s(self) -> float:
            self.flows = fitting(self.flows)
            return self.flows.next_end_s()

    fitted = Fitting(Bundles(capacity), capacity, lambda *_: None)
    ends = play(fitted, steps)
    assert isinstance(fitted.flows, CompiledFlows)
    alone = compiled(capacity)
    assert ends == pytest.approx(play(alone, steps), rel=1e-11)
    last_s = max(ends.values())
    assert fitted.carried(last_s) == pytest.approx(alone.carried(last_s), rel=1e-9)
    assert ends == pytest.approx(play(PlainFlows(capacity), steps), rel=1e-9)


def test_few_bundles_do_without_numba() -> None:
    lines = (
        "import sys",
        "from simfl.cost.bundles import Bundles",
        "from simfl.cost.fair import fitting",
        "flows = Bundles([1e6] * 22)",
        "for i in range(10): flows.start(0.0, (0, 2 + i), (1.0, 1.0), 8e6)",
        "for i in range(10): flows.start(0.0, (1, 12 + i), (1.0, 1.0), 8e6)",
        "assert fitting(flows) is flows and flows.next_end_s() == 80.0",
        "sys.exit('numba' in sys.modules)",
    )
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0


# -- late, long and many


@engines
@pytest.mark.parametrize("begin_s", [0.0, 4090.0, 1e4, 1e6, 1e8])
def test_late_in_a_run_flows_still_end(make: Make, begin_s: float) -> None:
    # what is left of a flow may take less time than the clock can show
    random = Random(1)
    usage = [1 / rate for rate in (10e6, 5e6, 20e6)]
    flows = [
        Start(begin_s + random.random(), (0,), random.uniform(4e4, 2e7), (random.choice(usage),))
        for _ in range(30)
    ]
    ends = play(make([1.0]), flows)
    assert len(ends) == 30
    busy_s = sum(flow.bits * flow.usage[0] for flow in flows)
    assert max(ends.values()) <= begin_s + 1 + busy_s * (1 + 1e-9)


@engines
def test_a_bundle_that_is_never_empty_keeps_its_precision(make: Make) -> None:
    # 500 messages, always two at once: each takes the time of two
    flows = make([10.0])
    flows.start(0.0, (0,), (1.0,), 0.5e9)
    flows.start(0.0, (0,), (1.0,), 1e9)
    ends = []
    for _ in range(500):
        now_s = flows.next_end_s()
        assert len(flows.ended(now_s)) == 1
        ends.append(now_s)
        flows.start(now_s, (0,), (1.0,), 1e9)
    assert [later - one for one, later in pairwise(ends)] == at(*[1e8] * 499)
