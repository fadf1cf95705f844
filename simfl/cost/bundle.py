"""A bundle: flows that cross the same shared links, under one virtual clock.

All of them run at one *level*, the rate per unit of weight, but for those whose cap is below it.
The bundle's clock is the integral of its level; a flow of b bits and weight w that starts when the
clock shows V ends when it shows V + b / w. So a change of rate touches one number for a crowd.

Source: Parekh and Gallager, A Generalized Processor Sharing Approach to Flow Control (IEEE/ACM
Transactions on Networking 1(3), 1993), section IV (virtual time, finish tags).
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

# a flow is let off its cap only where its share is lower by more than rounding
SLACK: Final = 1e-12
# void entries that heaps may hold before they are cleaned, beside four times the flows
_VOID: Final = 256


class Flow:
    """A flow: free, when its bundle's level rules it, or held by its cap."""

    __slots__ = (
        *("number", "links", "usage", "bits", "weight", "cap_bps", "left_bits", "since_s", "tag"),
        *("bundle", "share", "limit", "held", "epoch"),
    )
    # free: the bundle's clock at its end; held: the time at which it had left_bits
    tag: float
    since_s: float

    def __init__(
        self,
        number: int,
        links: Sequence[int],
        usage: Sequence[float],
        bits: float,
        weight: float,
        cap_bps: float,
    ) -> None:
        self.number = number
        self.links = links
        self.usage = usage
        self.bits = bits
        self.weight = weight
        self.cap_bps = cap_bps
        # in no bundle: what is left; held: what was left at since_s
        self.left_bits = bits
        # the bundle, and usage times weight on each of its links
        self.bundle: Bundle | None = None
        self.share: Sequence[float] = ()
        # cap per unit of weight: its own, or that of links which only it crosses
        self.limit = inf
        self.held = False
        # stands in its entries in heaps; with another number they are void
        self.epoch = -1

    def left_at(self, now_s: float) -> float:
        """Bits; below 0 by rounding."""
        bundle = self.bundle
        if bundle is None:
            return self.left_bits
        if self.held:
            return self.left_bits - self.limit * self.weight * (now_s - self.since_s)
        return (self.tag - bundle.clock_at(now_s)) * self.weight

    @property
    def rate_bps(self) -> float:
        """0 without a bundle."""
        if self.bundle is None:
            return 0.0
        return self.weight * (self.limit if self.held else self.bundle.level)


Entry = tuple[float, int, Flow]
"""Order, the flow's epoch, the flow: void when the epoch is another by now."""


def first(heap: list[Entry]) -> Entry | None:
    """The first entry that is not void; void ones before it go."""
    while heap:
        entry = heap[0]
        if entry[2].epoch == entry[1]:
            return entry
        heappop(heap)
    return None


def without_void(heap: list[Entry]) -> list[Entry]:
    """A heap of what is not void."""
    kept = [entry for entry in heap if entry[2].epoch == entry[1]]
    heapify(kept)
    return kept


class Sums:
    """Running sums that forget nothing: a hundred thousand terms in, all but one out again.

    Source: Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B (two-sum).
    """

    __slots__ = ("high", "low")

    def __init__(self, count: int) -> None:
        self.high = [0.0] * count
        self.low = [0.0] * count

    def add(self, terms: Sequence[float], factor: float) -> None:
        """A term times the factor to each sum."""
        highs = self.high
        for place, it in enumerate(terms):
            term = it * factor
            high = highs[place]
            highs[place] = total = high + term
            part = total - high
            self.low[place] += (high - (total - part)) + (term - part)

    def clear(self) -> None:
        """All are 0."""
        self.high = [0.0] * len(self.high)
        self.low = [0.0] * len(self.low)


class Bundle:
    """Flows that cross the same shared links.

    Attributes:
        links: in rising order.
        level: bits per second and unit of weight; 0 without free flows.
        clock: the level's integral, as it was at since_s.
        flows: how many; free: how many of them are ruled by the level.
        demand: what the free flows take of each link, per unit of level.
        taken: what the held flows take of each link.
        ends: free flows by finish tag; caps: by cap per weight; held: the others by that, falling.
        target: a level that is being worked out; below 0: not known yet.
    """

    __slots__ = (
        *("links", "level", "clock", "since_s", "flows", "free", "moves", "demand", "taken"),
        *("ends", "caps", "held", "target"),
    )

    def __init__(self, links: tuple[int, ...], now_s: float) -> None:
        self.links = links
        self.level = 0.0
        self.clock = 0.0
        self.since_s = now_s
        self.flows = 0
        self.free = 0
        # since the heaps were last cleaned
        self.moves = 0
        self.demand = Sums(len(links))
        self.taken = Sums(len(links))
        self.ends: list[Entry] = []
        self.caps: list[Entry] = []
        self.held: list[Entry] = []
        self.target = -1.0

    def clock_at(self, now_s: float) -> float:
        """Bits per unit of weight."""
        return self.clock + self.level * (now_s - self.since_s)

    def end_s(self, tag: float) -> float:
        """When the clock will show a tag, if the level stays; it is above 0."""
        return self.since_s + (tag - self.clock) / self.level

    def set_level(self, now_s: float, level: float) -> None:
        """Another level from now on."""
        if level != self.level:
            self.clock += self.level * (now_s - self.since_s)
            self.since_s = now_s
            self.level = level

    def add(self, now_s: float, flow: Flow, epoch: int, *, held: bool) -> None:
        """Take a flow with ``left_bits`` at now: at the level, or at its cap."""
        flow.bundle = self
        flow.epoch = epoch
        flow.held = held
        self.flows += 1
        self.moves += 1
        if held:
            flow.since_s = now_s
            if self.links:
                self.taken.add(flow.share, flow.limit)
                heappush(self.held, (-flow.limit, epoch, flow))
            return
        self.free += 1
        self.demand.add(flow.share, 1.0)
        flow.tag = tag = self.clock_at(now_s) + flow.left_bits / flow.weight
        heappush(self.ends, (tag, epoch, flow))
        if flow.limit < inf:
            heappush(self.caps, (flow.limit, epoch, flow))

    def remove(self, now_s: float, flow: Flow) -> None:
        """Let a flow go, with ``left_bits`` at now; its entries are void."""
        flow.left_bits = flow.left_at(now_s)
        flow.bundle = None
        flow.epoch = -1
        self.flows -= 1
        self.moves += 1
        if flow.held:
            if self.links:
                self.taken.add(flow.share, -flow.limit)
            return
        self.free -= 1
        if self.free:
            self.demand.add(flow.share, -1.0)
            return
        # nothing is left of rounding, nor of the clock
        self.demand.clear()
        self.clock = self.level = 0.0
        self.ends.clear()
        self.caps.clear()

    def clean(self, now_s: float) -> None:
        """Now and then, void entries out, and the clock back to 0, so that both stay precise."""
        if self.moves <= 4 * self.flows + _VOID:
            return
        self.moves = 0
        clock = self.clock_at(now_s)
        self.clock, self.since_s = 0.0, now_s
        self.ends = without_void(self.ends)
        for i, (tag, epoch, flow) in enumerate(self.ends):
            flow.tag = tag - clock
            self.ends[i] = (flow.tag, epoch, flow)
        self.caps = without_void(self.caps)
        self.held = without_void(self.held)
