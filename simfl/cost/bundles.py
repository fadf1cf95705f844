"""Max-min fair flows in bundles: a change of rate touches one number for a crowd of flows.

A link that only one flow crosses is that flow's own: it caps the flow and concerns nobody else. A
*bundle* is the flows that cross the same shared links; they all run at one level, the rate per unit
of weight, but for those whose cap is below it. A bundle's virtual clock, the integral of its level,
says when its flows end: a flow of b bits and weight w that starts when the clock shows V ends when
it shows V + b / w. So a start, an end or a cut in a star or a cell of n clients costs O(log n), and
the rates of all the others change with two or three bundles' levels.

Source: virtual clock and finish tags: Parekh and Gallager, A Generalized Processor Sharing
Approach to Flow Control (IEEE/ACM Transactions on Networking 1(3), 1993), section IV. Levels:
progressive filling, as in `sharing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

from simfl.cost.flows import Unfinished, is_over

# a flow is let off its cap only where its share is lower by more than rounding
_SLACK: Final = 1e-12
# entries that a heap may hold beside twice those in use
_STALE: Final = 64

# (order, flow, the flow's epoch): void when the flow is gone or has moved since
_Entry = tuple[float, int, int]


class _Sum:
    """A running sum that forgets nothing: a hundred thousand terms in, all but one out again.

    Source: Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B (two-sum).
    """

    __slots__ = ("high", "low")

    def __init__(self) -> None:
        self.high = 0.0
        self.low = 0.0

    def add(self, term: float) -> None:
        high = self.high
        total = high + term
        part = total - high
        self.low += (high - (total - part)) + (term - part)
        self.high = total

    def clear(self) -> None:
        self.high = self.low = 0.0


class _Bundle:
    """Flows that cross the same shared links."""

    __slots__ = (
        *("links", "level", "clock", "since_s", "demand", "free", "flows", "moves", "target"),
        *("ends", "caps", "held"),
    )

    def __init__(self, links: tuple[int, ...], now_s: float) -> None:
        self.links = links
        # bits per second and unit of weight (0 without free flows); its integral up to since_s
        self.level = 0.0
        self.clock = 0.0
        self.since_s = now_s
        # what its free flows ask of each link, per unit of level
        self.demand = [_Sum() for _ in links]
        self.free = 0
        self.flows = 0
        # changes since the heaps were last cleaned
        self.moves = 0
        # the level that is being worked out; below 0: not known yet
        self.target = -1.0
        # free flows by finish tag, and by cap per weight; held flows by cap per weight, falling
        self.ends: list[_Entry] = []
        self.caps: list[_Entry] = []
        self.held: list[_Entry] = []

    def clock_at(self, now_s: float) -> float:
        return self.clock + self.level * (now_s - self.since_s)

    def end_s(self, tag: float) -> float:
        """When the clock will show a tag."""
        return self.since_s + (tag - self.clock) / self.level

    def set_level(self, now_s: float, level: float) -> None:
        if level != self.level:
            self.clock = self.clock_at(now_s)
            self.since_s = now_s
            self.level = level


class _Flow:
    """A flow: free, when its bundle's level rules it, or held by its cap."""

    __slots__ = (
        *("links", "usage", "bits", "weight", "cap_bps", "left_bits", "since_s", "tag"),
        *("bundle", "share", "limit", "held", "epoch"),
    )

    def __init__(
        self,
        links: Sequence[int],
        usage: Sequence[float],
        bits: float,
        weight: float,
        cap_bps: float,
    ) -> None:
        self.links = links
        self.usage = usage
        self.bits = bits
        self.weight = weight
        self.cap_bps = cap_bps
        # held, or not placed yet: what was left at since_s; free: the bundle's clock at its end
        self.left_bits = bits
        self.since_s = 0.0
        self.tag = 0.0
        self.bundle: _Bundle | None = None
        # usage times weight on each of the bundle's links
        self.share: Sequence[float] = ()
        # cap per unit of weight, of its own and by the links that only it crosses
        self.limit = inf
        self.held = False
        self.epoch = 0

    def left_at(self, now_s: float) -> float:
        bundle = self.bundle
        if bundle is None:
            return self.left_bits
        if self.held:
            return self.left_bits - self.limit * self.weight * (now_s - self.since_s)
        return (self.tag - bundle.clock_at(now_s)) * self.weight

    @property
    def rate_bps(self) -> float:
        if self.bundle is None:
            return 0.0
        return self.weight * (self.limit if self.held else self.bundle.level)


class Bundles:
    """The engine for few bundles, whatever the number of flows. Implements `Flows`."""

    def __init__(self, capacity: Sequence[float]) -> None:
        self._capacity = list(capacity)
        self._now_s = 0.0
        self._flows: dict[int, _Flow] = {}
        self._next = 0
        # of each link: how many flows, the sum of their numbers (with one: its number), what held
        # flows take of it, and what flows that are gone have carried
        self._crossing = [0] * len(capacity)
        self._numbers = [0] * len(capacity)
        self._taken: dict[int, _Sum] = {}
        self._carried = [0.0] * len(capacity)
        self._bundles: dict[tuple[int, ...], _Bundle] = {}
        self._across: dict[int, list[tuple[_Bundle, _Sum]]] = {}
        # the links of bundles that may have lost their last flow
        self._emptied: list[tuple[int, ...]] = []
        # flows to place anew, and whether levels are to be worked out, before time moves on
        self._unplaced: set[int] = set()
        self._stale = False
        # held flows by the time of their end
        self._timed: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._flows)

    # -- changes

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
        """As `Flows.start`."""
        if now_s != self._now_s:
            self._move_to(now_s)
        number = self._next
        self._next = number + 1
        crossing, numbers = self._crossing, self._numbers
        for link in links:
            if crossing[link] == 1:
                # no longer its own
                self._unplaced.add(numbers[link])
            crossing[link] += 1
            numbers[link] += number
        self._flows[number] = _Flow(links, usage, bits, weight, cap_bps)
        self._unplaced.add(number)
        self._stale = True
        return number

    def cut(self, now_s: float, flow: int) -> float:
        """As `Flows.cut`."""
        if now_s != self._now_s:
            self._move_to(now_s)
        return max(0.0, self._remove(flow))

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        """As `Flows.change`."""
        self._move_to(now_s)
        it = self._flows[flow]
        self._displace(it)
        it.weight = it.weight if weight is None else weight
        it.cap_bps = it.cap_bps if cap_bps is None else cap_bps
        self._unplaced.add(flow)
        self._stale = True

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        """As `Flows.set_capacity`."""
        self._move_to(now_s)
        self._capacity[link] = capacity
        if not self._crossing[link]:
            return
        if self._crossing[link] == 1:
            number = self._numbers[link]
            self._displace(self._flows[number])
            self._unplaced.add(number)
        self._stale = True

    # -- what comes of it

    def next_end_s(self) -> float:
        """As `Flows.next_end_s`."""
        if self._stale:
            self._settle()
        soonest_s = inf
        for bundle in self._bundles.values():
            if bundle.free and bundle.level:
                entry = self._first(bundle.ends)
                assert entry
                soonest_s = min(soonest_s, bundle.end_s(entry[0]))
        held = self._first(self._timed)
        if held:
            soonest_s = min(soonest_s, held[0])
        return max(soonest_s, self._now_s)

    def ended(self, now_s: float) -> list[int]:
        """As `Flows.ended`."""
        if now_s != self._now_s:
            self._move_to(now_s)
        over = []
        for bundle in self._bundles.values():
            if not bundle.free:
                continue
            clock = bundle.clock_at(now_s)
            ends = bundle.ends
            while entry := self._first(ends):
                weight = self._flows[entry[1]].weight
                # at the time foretold it is over, whatever rounding says is left
                if (not bundle.level or bundle.end_s(entry[0]) > now_s) and not is_over(
                    (entry[0] - clock) * weight, bundle.level * weight, now_s
                ):
                    break
                over.append(entry[1])
                heappop(ends)
        while entry := self._first(self._timed):
            flow = self._flows[entry[1]]
            if entry[0] > now_s and not is_over(flow.left_at(now_s), flow.rate_bps, now_s):
                break
            over.append(entry[1])
            heappop(self._timed)
        over.sort()
        for number in over:
            self._remove(number)
        return over

    def rate_bps(self, flow: int) -> float:
        """As `Flows.rate_bps`."""
        if self._stale:
            self._settle()
        return self._flows[flow].rate_bps

    def left_bits(self, now_s: float, flow: int) -> float:
        """As `Flows.left_bits`."""
        if now_s != self._now_s:
            self._move_to(now_s)
        return max(0.0, self._flows[flow].left_at(now_s))

    def carried(self, now_s: float) -> list[float]:
        """As `Flows.carried`."""
        self._move_to(now_s)
        carried = list(self._carried)
        for flow in self._flows.values():
            moved = flow.bits - max(0.0, flow.left_at(now_s))
            for link, usage in zip(flow.links, flow.usage, strict=True):
                carried[link] += moved * usage
        return carried

    # -- for who takes over

    def gather(self) -> int:
        """Put flows in their bundles, without sharing yet; gives the number of bundles."""
        if self._unplaced:
            self._place()
        return len(self._bundles)

    def hand_over(self) -> tuple[float, list[float], list[float], Unfinished]:
        """The time; capacity of each link, what it has carried; flows by number."""
        unfinished: Unfinished = {}
        for number, flow in self._flows.items():
            left_bits = max(flow.left_at(self._now_s), 0.0)
            unfinished[number] = (flow.links, flow.usage, left_bits, flow.weight, flow.cap_bps)
        return self._now_s, self._capacity, self.carried(self._now_s), unfinished

    # -- inside

    def _move_to(self, now_s: float) -> None:
        if self._stale and now_s != self._now_s:
            self._settle()
        self._now_s = now_s

    def _remove(self, number: int) -> float:
        """Forget a flow; gives what was left."""
        flow = self._flows[number]
        left_bits = flow.left_at(self._now_s)
        self._displace(flow)
        del self._flows[number]
        self._unplaced.discard(number)
        moved = flow.bits - max(0.0, left_bits)
        crossing, numbers = self._crossing, self._numbers
        for link, usage in zip(flow.links, flow.usage, strict=True):
            crossing[link] -= 1
            numbers[link] -= number
            self._carried[link] += moved * usage
            if crossing[link] == 1:
                # the other's own from now on
                self._unplaced.add(numbers[link])
        self._stale = True
        return left_bits

    def _displace(self, flow: _Flow) -> None:
        """Out of its bundle; its entries in the heaps are void."""
        bundle = flow.bundle
        if bundle is None:
            return
        flow.left_bits = flow.left_at(self._now_s)
        if flow.held:
            self._take(flow, -1)
        else:
            self._ask(flow, bundle, -1)
        bundle.flows -= 1
        if not bundle.flows:
            self._emptied.append(bundle.links)
        flow.bundle = None
        flow.held = False
        flow.epoch += 1

    def _ask(self, flow: _Flow, bundle: _Bundle, sign: int) -> None:
        """Count a free flow's share in its bundle's demand, or no longer."""
        bundle.moves += 1
        bundle.free += sign
        if bundle.free:
            for demand, share in zip(bundle.demand, flow.share, strict=True):
                demand.add(sign * share)
        else:
            # nothing is left of rounding, nor of the clock
            for demand in bundle.demand:
                demand.clear()
            bundle.clock = bundle.level = 0.0
            bundle.ends.clear()
            bundle.caps.clear()

    def _take(self, flow: _Flow, sign: int) -> None:
        """Count what a held flow takes of the links that it shares, or no longer."""
        assert flow.bundle
        for link, share in zip(flow.bundle.links, flow.share, strict=True):
            self._taken[link].add(sign * share * flow.limit)

    def _hold(self, number: int, flow: _Flow) -> None:
        """At its cap from now on."""
        bundle = flow.bundle
        assert bundle
        flow.since_s = self._now_s
        flow.held = True
        flow.epoch += 1
        self._take(flow, 1)
        rate_bps = flow.limit * flow.weight
        if rate_bps:
            end_s = self._now_s + flow.left_bits / rate_bps
            heappush(self._timed, (end_s, number, flow.epoch))
        if bundle.links:
            heappush(bundle.held, (-flow.limit, number, flow.epoch))

    def _let_go(self, number: int, flow: _Flow) -> None:
        """At its bundle's level from now on."""
        bundle = flow.bundle
        assert bundle
        flow.held = False
        flow.epoch += 1
        self._ask(flow, bundle, 1)
        flow.tag = bundle.clock_at(self._now_s) + flow.left_bits / flow.weight
        heappush(bundle.ends, (flow.tag, number, flow.epoch))
        if flow.limit < inf:
            heappush(bundle.caps, (flow.limit, number, flow.epoch))

    def _place(self) -> None:
        """Each flow whose links became shared, or its own, into its bundle."""
        crossing, capacity = self._crossing, self._capacity
        for number in sorted(self._unplaced):
            flow = self._flows[number]
            cap_bps = flow.cap_bps
            shared = []
            for link, usage in zip(flow.links, flow.usage, strict=True):
                if crossing[link] > 1:
                    shared.append((link, usage * flow.weight))
                else:
                    cap_bps = min(cap_bps, capacity[link] / usage)
            shared.sort()
            links = tuple([link for link, _ in shared])
            if flow.bundle and flow.bundle.links == links:
                # shared and its own again within one instant
                continue
            self._displace(flow)
            bundle = self._bundles.get(links)
            if bundle is None:
                bundle = self._bundles[links] = _Bundle(links, self._now_s)
                for link in links:
                    self._taken.setdefault(link, _Sum())
                for link, demand in zip(links, bundle.demand, strict=True):
                    self._across.setdefault(link, []).append((bundle, demand))
            flow.bundle = bundle
            flow.share = tuple([share for _, share in shared])
            flow.limit = cap_bps / flow.weight
            bundle.flows += 1
            if not links or (bundle.free and flow.limit <= bundle.level):
                self._hold(number, flow)
            else:
                self._let_go(number, flow)
        self._unplaced.clear()

    def _settle(self) -> None:
        """Share anew what changed at this instant."""
        if self._unplaced:
            self._place()
        for links in self._emptied:
            if links in self._bundles and not self._bundles[links].flows:
                self._drop(self._bundles.pop(links))
        self._emptied.clear()
        self._level()
        for bundle in self._bundles.values():
            if bundle.moves > 4 * bundle.free + _STALE:
                self._clean(bundle)
        if len(self._timed) > 2 * len(self._flows) + _STALE:
            self._timed = self._valid(self._timed)
        self._stale = False

    def _drop(self, bundle: _Bundle) -> None:
        """Forget a bundle that has no flows."""
        for link in bundle.links:
            across = self._across[link] = [it for it in self._across[link] if it[0] is not bundle]
            if not across:
                del self._across[link]
                del self._taken[link]

    def _level(self) -> None:
        """Each bundle's level, by progressive filling over links and bundles.

        The link that would be full first, as flows stand (free, held), rules the bundles across
        it; if at its level some of their flows should stand otherwise, they do, and the search
        begins again. Each such change lets the lowest level rise and never beyond the true one,
        since what a flow takes, the lesser of its cap and its share, is concave in the level.
        """
        bundles = self._bundles.values()
        for bundle in bundles:
            bundle.target = -1.0
        floor = 0.0
        while True:
            level, link = self._fullest(floor)
            if link < 0:
                break
            waiting = [bundle for bundle, _ in self._across[link] if bundle.target < 0]
            if any([self._regroup(bundle, level) for bundle in waiting]):
                continue
            for bundle in waiting:
                bundle.target = level
            floor = level
        for bundle in bundles:
            bundle.set_level(self._now_s, max(bundle.target, 0.0))

    def _fullest(self, floor: float) -> tuple[float, int]:
        """The lowest level at which a link is full, and which; -1: none will be.

        Args:
            floor: level of those that are known; the others' is no lower, but for rounding.
        """
        lowest, fullest = inf, -1
        for link, across in self._across.items():
            taken = self._taken[link]
            spare = self._capacity[link] - taken.high - taken.low
            asked = 0.0
            waiting = False
            for bundle, demand in across:
                if bundle.target < 0:
                    asked += demand.high + demand.low
                    waiting = True
                else:
                    spare -= bundle.target * (demand.high + demand.low)
            if asked:
                level = max(floor, spare / asked)
            elif waiting and spare < -_SLACK * self._capacity[link]:
                # all are at their caps, and that is too much
                level = floor
            else:
                continue
            if level < lowest:
                lowest, fullest = level, link
        return lowest, fullest

    def _regroup(self, bundle: _Bundle, level: float) -> bool:
        """Hold what has its cap below the level, let go what is held above; whether any was."""
        moved = False
        while (entry := self._first(bundle.caps)) and entry[0] < level:
            flow = self._flows[entry[1]]
            heappop(bundle.caps)
            flow.left_bits = flow.left_at(self._now_s)
            self._ask(flow, bundle, -1)
            self._hold(entry[1], flow)
            moved = True
        while (entry := self._first(bundle.held)) and -entry[0] > level * (1 + _SLACK):
            flow = self._flows[entry[1]]
            heappop(bundle.held)
            flow.left_bits = flow.left_at(self._now_s)
            self._take(flow, -1)
            self._let_go(entry[1], flow)
            moved = True
        return moved

    def _clean(self, bundle: _Bundle) -> None:
        """Void entries out, and the clock back to 0, so that it keeps its precision."""
        clock = bundle.clock_at(self._now_s)
        bundle.clock, bundle.since_s, bundle.moves = 0.0, self._now_s, 0
        bundle.ends = self._valid(bundle.ends)
        for i, (tag, number, epoch) in enumerate(bundle.ends):
            bundle.ends[i] = (tag - clock, number, epoch)
            self._flows[number].tag = tag - clock
        bundle.caps = self._valid(bundle.caps)
        bundle.held = self._valid(bundle.held)

    def _valid(self, heap: list[_Entry]) -> list[_Entry]:
        flows = self._flows
        kept = [e for e in heap if e[1] in flows and flows[e[1]].epoch == e[2]]
        heapify(kept)
        return kept

    def _first(self, heap: list[_Entry]) -> _Entry | None:
        """The first entry that is not void."""
        while heap:
            entry = heap[0]
            flow = self._flows.get(entry[1])
            if flow is not None and flow.epoch == entry[2]:
                return entry
            heappop(heap)
        return None
