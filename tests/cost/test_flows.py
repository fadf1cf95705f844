"""Engines for flows, against closed forms, the definition of fairness, and the slow reference."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_flows import PlainFlows

from simfl.cost.bundles import Bundles
from simfl.cost.compiled import CompiledFlows
from simfl.cost.fair import MANY_BUNDLES, fitting
from simfl.cost.flows import Flows, Unfinished

Make = Callable[[Sequence[float]], Flows]


def compiled(capacity: Sequence[float]) -> Flows:
    zero = [0.0] * len(capacity)
    return CompiledFlows(
        Unfinished(now_s=0.0, capacity=capacity, carried=zero, next_flow=0, flows={})
    )


@pytest.fixture(scope="session", autouse=True)
def _compile_once() -> None:
    """Some seconds, where nothing is cached yet, that no test is to be charged for."""
    flows = compiled([1.0])
    flows.cut(0.0, flows.start(0.0, (0,), (1.0,), 1.0))
    flows.start(0.0, (0,), (1.0,), 1.0)
    assert flows.ended(flows.next_end_s()) == [1]


@dataclass(frozen=True)
class Start:
    at_s: float
    links: tuple[int, ...]
    bits: float
    usage: tuple[float, ...] = ()
    weight: float = 1.0
    cap_bps: float = inf


@dataclass(frozen=True)
class Capacity:
    at_s: float
    link: int
    to: float


@dataclass(frozen=True)
class Change:
    at_s: float
    flow: int
    weight: float | None = None
    cap_bps: float | None = None


@dataclass(frozen=True)
class Cut:
    at_s: float
    flow: int


Step = Start | Capacity | Change | Cut


def play(flows: Flows, steps: Sequence[Step]) -> dict[int, float]:
    """When each flow ends, by its place among the starts; steps whose flow is gone do nothing."""
    ends: dict[int, float] = {}
    numbers: dict[int, int] = {}
    cut: set[int] = set()
    places = {id(step): i for i, step in enumerate(s for s in steps if isinstance(s, Start))}
    for step in [*sorted(steps, key=lambda it: it.at_s), None]:
        while (next_s := flows.next_end_s()) < (step.at_s if step else inf):
            over = flows.ended(next_s)
            assert over, "an end was foretold"
            ends |= dict.fromkeys(over, next_s)
        if isinstance(step, Start):
            usage = step.usage or (1.0,) * len(step.links)
            limits = {"weight": step.weight, "cap_bps": step.cap_bps}
            number = flows.start(step.at_s, step.links, usage, step.bits, **limits)
            numbers[number] = places[id(step)]
        elif isinstance(step, Capacity):
            flows.set_capacity(step.at_s, step.link, step.to)
        elif isinstance(step, Change) and step.flow in numbers.keys() - ends.keys() - cut:
            flows.change(step.at_s, step.flow, weight=step.weight, cap_bps=step.cap_bps)
        elif isinstance(step, Cut) and step.flow in numbers.keys() - ends.keys() - cut:
            flows.cut(step.at_s, step.flow)
            cut.add(step.flow)
    assert len(flows) == len(numbers) - len(ends) - len(cut)
    return {numbers[number]: end_s for number, end_s in ends.items()}


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


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[float], list[Step]]:
    """Up to 6 links, and what happens on them, much of it at the same instants."""
    scale = draw(st.sampled_from([1.0, 1e6, 1e9]))
    size = st.sampled_from([1.0, 2.0, 3.0]) | st.floats(0.1, 10)
    capacity = draw(st.lists(size, min_size=1, max_size=6))
    instants = st.sampled_from([0.0, 1.0, 1.5, 2.0]) | st.floats(0, 4)
    usages = st.sampled_from([1.0, 1.046, 0.026]) | st.floats(0.01, 3)
    weights = st.just(1.0) | st.floats(0.1, 5)
    caps = st.just(inf) | st.floats(0.05, 3).map(lambda it: it * scale)
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 9))):
        links = draw(st.sets(st.integers(0, len(capacity) - 1), min_size=1))
        steps.append(
            Start(
                draw(instants),
                tuple(sorted(links)),
                scale * draw(st.floats(0.1, 5)),
                tuple(draw(usages) for _ in links),
                draw(weights),
                draw(caps),
            )
        )
    begun = st.integers(0, len(steps) - 1)
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["cut", "weight", "cap", "capacity"]))
        if kind == "cut":
            steps.append(Cut(draw(instants), draw(begun)))
        elif kind == "weight":
            steps.append(Change(draw(instants), draw(begun), weight=draw(weights)))
        elif kind == "cap":
            steps.append(Change(draw(instants), draw(begun), cap_bps=draw(caps)))
        else:
            link = draw(st.integers(0, len(capacity) - 1))
            to = draw(st.just(0.0) | size)
            steps.append(Capacity(draw(instants), link, scale * to))
    return [scale * it for it in capacity], steps


class Watched:
    """An engine whose rates are looked at whenever somebody asks what comes next."""

    def __init__(self, flows: Flows, capacity: Sequence[float], looks: Callable[..., None]) -> None:
        self.flows = flows
        self.capacity = list(capacity)
        self.begun: dict[int, Start] = {}
        self.looks = looks

    def __len__(self) -> int:
        return len(self.flows)

    def start(
        self,
        now_s: float,
        links: Sequence[int],
        usage: Sequence[float],
        bits: float,
        *,
        weight: float = 1.0,
        cap_bps: float = inf,
    ) -> int:
        number = self.flows.start(now_s, links, usage, bits, weight=weight, cap_bps=cap_bps)
        self.begun[number] = Start(now_s, tuple(links), bits, tuple(usage), weight, cap_bps)
        return number

    def cut(self, now_s: float, flow: int) -> float:
        del self.begun[flow]
        return self.flows.cut(now_s, flow)

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        was = self.begun[flow]
        self.begun[flow] = Start(
            was.at_s,
            was.links,
            was.bits,
            was.usage,
            was.weight if weight is None else weight,
            was.cap_bps if cap_bps is None else cap_bps,
        )
        self.flows.change(now_s, flow, weight=weight, cap_bps=cap_bps)

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        self.capacity[link] = capacity
        self.flows.set_capacity(now_s, link, capacity)

    def next_end_s(self) -> float:
        rates = {number: self.flows.rate_bps(number) for number in self.begun}
        self.looks(self.capacity, self.begun, rates)
        return self.flows.next_end_s()

    def ended(self, now_s: float) -> list[int]:
        over = self.flows.ended(now_s)
        for number in over:
            del self.begun[number]
        return over

    def rate_bps(self, flow: int) -> float:
        return self.flows.rate_bps(flow)

    def left_bits(self, now_s: float, flow: int) -> float:
        return self.flows.left_bits(now_s, flow)

    def carried(self, now_s: float) -> list[float]:
        return self.flows.carried(now_s)


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


def star(n: int, random: Random) -> tuple[list[float], list[Step]]:
    """The server's link down and n links of three kinds; with acknowledgements the other way."""
    capacity = [1e8, 1e8] + [random.choice([2e7, 1e6, 5e6]) for _ in range(2 * n)]
    steps: list[Step] = []
    for i in range(n):
        # every other instant has several starts
        start_s = random.choice([random.random(), round(random.random(), 1)])
        links, usage = (0, 1, 2 + i, 2 + n + i), (1.046, 0.026, 1.046, 0.026)
        steps.append(Start(start_s, links, random.uniform(1e5, 1e7), usage))
        usage = (0.026, 1.046, 0.026, 1.046)
        steps.append(Start(start_s + 2, links, random.uniform(1e5, 1e7), usage))
    return capacity, steps


def test_a_star_of_a_hundred_clients() -> None:
    capacity, steps = star(100, Random(1))
    ends = play(Bundles(capacity), steps)
    assert len(ends) == 200
    assert ends == pytest.approx(play(compiled(capacity), steps), rel=1e-11)
    assert ends == pytest.approx(play(PlainFlows(capacity), steps), rel=1e-9)


def graph(nodes: int, flows: int, random: Random) -> tuple[list[float], list[Step]]:
    """A ring with chords; each flow goes round for some hops, then over a chord."""
    capacity = [random.choice([1e6, 2e6, 1e7]) for _ in range(2 * nodes)]
    steps: list[Step] = []
    for _ in range(flows):
        first, hops = random.randrange(nodes), random.randint(1, 6)
        crossed = {(first + i) % nodes for i in range(hops)} | {nodes + (first + hops) % nodes}
        bits = random.uniform(1e5, 1e7)
        steps.append(Start(random.choice([0.0, random.random()]), tuple(sorted(crossed)), bits))
    return capacity, steps


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
