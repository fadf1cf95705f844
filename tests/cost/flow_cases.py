"""What happens to flows, drawn or made; and how it is played on an engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from hypothesis import strategies as st

from simfl.cost.compiled import CompiledFlows
from simfl.cost.flows import Flows, Unfinished

Make = Callable[[Sequence[float]], Flows]


def compiled(capacity: Sequence[float]) -> Flows:
    zero = [0.0] * len(capacity)
    return CompiledFlows(
        Unfinished(now_s=0.0, capacity=capacity, carried=zero, next_flow=0, flows={})
    )


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
