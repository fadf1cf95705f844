"""Max-min fair flows in bundles: what changes in a crowd costs as little as what changes alone.

A link that only one flow crosses is that flow's own: it caps the flow and concerns nobody else. The
others are shared, and flows that cross the same shared links are a bundle (`bundle`), with one
level for all. In a star or a cell of n clients there are two or three bundles, so that a start, an
end or a cut costs O(log n), whatever the rates of the others do.

Source: progressive filling, as in `sharing`, over bundles instead of flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf

from simfl.cost.bundle import SLACK, Bundle, Entry, Flow, first, without_void
from simfl.cost.flows import Unfinished, is_over


class Bundles:
    """The engine for few bundles, whatever the number of flows. Implements `Flows`."""

    def __init__(self, capacity: Sequence[float]) -> None:
        self._capacity = list(capacity)
        self._now_s = 0.0
        self._flows: dict[int, Flow] = {}
        self._next = 0
        self._epoch = 0
        # of each link: how many flows, the sum of their numbers (with one: its number), and what
        # flows that are gone have carried
        self._crossing = [0] * len(capacity)
        self._numbers = [0] * len(capacity)
        self._carried = [0.0] * len(capacity)
        # by their links, and of each shared link with the link's place among theirs
        self._bundles: dict[tuple[int, ...], Bundle] = {}
        self._across: dict[int, list[tuple[Bundle, int]]] = {}
        # to be done before time moves on: flows to place anew, bundles whose level may be another
        self._unplaced: dict[int, Flow] = {}
        self._touched: dict[tuple[int, ...], Bundle] = {}
        # held flows by the time of their end
        self._timed: list[Entry] = []

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
                self._unplaced[numbers[link]] = self._flows[numbers[link]]
            crossing[link] += 1
            numbers[link] += number
        flow = Flow(number, links, usage, bits, weight, cap_bps)
        self._flows[number] = self._unplaced[number] = flow
        return number

    def cut(self, now_s: float, flow: int) -> float:
        """As `Flows.cut`."""
        if now_s != self._now_s:
            self._move_to(now_s)
        it = self._flows[flow]
        self._displace(it)
        left_bits = max(0.0, it.left_bits)
        self._forget(it, left_bits)
        return left_bits

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        """As `Flows.change`."""
        self._move_to(now_s)
        it = self._flows[flow]
        self._displace(it)
        it.weight = it.weight if weight is None else weight
        it.cap_bps = it.cap_bps if cap_bps is None else cap_bps
        self._unplaced[flow] = it

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        """As `Flows.set_capacity`."""
        self._move_to(now_s)
        self._capacity[link] = capacity
        if self._crossing[link] == 1:
            flow = self._flows[self._numbers[link]]
            self._displace(flow)
            self._unplaced[flow.number] = flow
        for bundle, _ in self._across.get(link, ()):
            self._touched[bundle.links] = bundle

    # -- what comes of it

    def next_end_s(self) -> float:
        """As `Flows.next_end_s`."""
        if self._unplaced or self._touched:
            self._settle()
        soonest_s = inf
        for bundle in self._bundles.values():
            if bundle.level:
                entry = first(bundle.ends)
                assert entry
                end_s = bundle.end_s(entry[0])
                if end_s < soonest_s:
                    soonest_s = end_s
        held = first(self._timed)
        if held:
            soonest_s = min(soonest_s, held[0])
        return max(soonest_s, self._now_s)

    def ended(self, now_s: float) -> list[int]:
        """As `Flows.ended`."""
        if now_s != self._now_s:
            self._move_to(now_s)
        over = []
        for bundle in self._bundles.values():
            level = bundle.level
            if not level:
                continue
            clock = bundle.clock_at(now_s)
            ends = bundle.ends
            while entry := first(ends):
                flow = entry[2]
                # at the time foretold it is over, whatever rounding says is left
                if (
                    entry[0] > clock
                    and bundle.end_s(entry[0]) > now_s
                    and not is_over(flow.left_at(now_s), level * flow.weight, now_s)
                ):
                    break
                over.append(flow)
                heappop(ends)
        timed = self._timed
        while entry := first(timed):
            flow = entry[2]
            if entry[0] > now_s and not is_over(flow.left_at(now_s), flow.rate_bps, now_s):
                break
            over.append(flow)
            heappop(timed)
        for flow in over:
            self._forget(flow, 0.0)
        return sorted([flow.number for flow in over])

    def rate_bps(self, flow: int) -> float:
        """As `Flows.rate_bps`."""
        self._settle()
        return self._flows[flow].rate_bps

    def left_bits(self, now_s: float, flow: int) -> float:
        """As `Flows.left_bits`."""
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

    def hand_over(self) -> Unfinished:
        """All that another engine needs to go on from this instant."""
        return Unfinished(
            now_s=self._now_s,
            capacity=self._capacity,
            carried=self._carried,
            next_flow=self._next,
            flows={
                flow.number: (
                    flow.links,
                    flow.usage,
                    flow.bits,
                    max(flow.left_at(self._now_s), 0.0),
                    flow.weight,
                    flow.cap_bps,
                )
                for flow in self._flows.values()
            },
        )

    # -- inside

    def _move_to(self, now_s: float) -> None:
        if now_s != self._now_s:
            if self._unplaced or self._touched:
                self._settle()
            self._now_s = now_s

    def _forget(self, flow: Flow, left_bits: float) -> None:
        """A flow is gone; nothing is left of one that is over, whatever rounding says."""
        number = flow.number
        if flow.bundle is not None:
            self._displace(flow)
        del self._flows[number]
        if self._unplaced:
            self._unplaced.pop(number, None)
        moved = flow.bits - left_bits
        crossing, numbers, carried = self._crossing, self._numbers, self._carried
        usage = iter(flow.usage)
        for link in flow.links:
            crossing[link] -= 1
            numbers[link] -= number
            carried[link] += moved * next(usage)
            if crossing[link] == 1:
                # the other's own from now on
                self._unplaced[numbers[link]] = self._flows[numbers[link]]

    def _displace(self, flow: Flow) -> None:
        """Out of its bundle, if it is in one."""
        bundle = flow.bundle
        if bundle is not None:
            bundle.remove(self._now_s, flow)
            self._touched[bundle.links] = bundle

    def _place(self) -> None:
        """Each flow whose links became shared, or its own, into its bundle."""
        crossing, capacity = self._crossing, self._capacity
        unplaced = self._unplaced
        self._unplaced = {}
        for number in sorted(unplaced):
            flow = unplaced[number]
            weight, limit_bps = flow.weight, flow.cap_bps
            shared: list[int] = []
            share: list[float] = []
            usages = iter(flow.usage)
            for link in flow.links:
                usage = next(usages)
                if crossing[link] > 1:
                    shared.append(link)
                    share.append(usage * weight)
                elif capacity[link] < limit_bps * usage:
                    limit_bps = capacity[link] / usage
            links = tuple(shared)
            if flow.bundle is not None:
                if flow.bundle.links == links:
                    # shared and its own again within one instant
                    continue
                self._displace(flow)
            bundle = self._bundles.get(links) or self._new(links)
            flow.share = share
            flow.limit = limit_bps / weight
            self._put(flow, bundle, held=not links or flow.limit < bundle.level)
            self._touched[links] = bundle

    def _put(self, flow: Flow, bundle: Bundle, *, held: bool) -> None:
        """A flow that is in no bundle into this one."""
        self._epoch = epoch = self._epoch + 1
        bundle.add(self._now_s, flow, epoch, held=held)
        if held and flow.limit:
            end_s = self._now_s + flow.left_bits / (flow.limit * flow.weight)
            heappush(self._timed, (end_s, epoch, flow))

    def _new(self, links: tuple[int, ...]) -> Bundle:
        bundle = self._bundles[links] = Bundle(links, self._now_s)
        for place, link in enumerate(links):
            self._across.setdefault(link, []).append((bundle, place))
        return bundle

    def _drop(self, bundle: Bundle) -> None:
        """Forget a bundle that has no flows."""
        del self._bundles[bundle.links]
        for link in bundle.links:
            self._across[link] = [it for it in self._across[link] if it[0] is not bundle]
            if not self._across[link]:
                del self._across[link]

    def _settle(self) -> None:
        """Share anew what changed at this instant."""
        if self._unplaced:
            self._place()
        if not self._touched:
            return
        across = self._across
        waiting: list[Bundle] = []
        alone = True
        for bundle in self._touched.values():
            for link in bundle.links:
                if len(across[link]) > 1:
                    alone = False
            if bundle.flows:
                waiting.append(bundle)
            else:
                self._drop(bundle)
        if alone:
            for bundle in waiting:
                self._level_alone(bundle)
        else:
            self._level()
        for bundle in waiting:
            bundle.clean(self._now_s)
        if len(self._timed) > 4 * len(self._flows) + 256:
            self._timed = without_void(self._timed)
        self._touched = {}

    def _level_alone(self, bundle: Bundle) -> None:
        """The level of a bundle that has no link with another in common: the closed form."""
        taken, demand = bundle.taken, bundle.demand
        while True:
            level = inf
            for place, link in enumerate(bundle.links):
                spare = self._capacity[link] - taken.high[place] - taken.low[place]
                if bundle.free:
                    full_at = spare / (demand.high[place] + demand.low[place])
                    if full_at < level:
                        level = full_at
                elif spare < -SLACK * self._capacity[link]:
                    # all are at their caps, and that is too much
                    level = 0.0
            if level < 0:
                level = 0.0
            if not self._regroup(bundle, level):
                break
        bundle.set_level(self._now_s, level if bundle.free else 0.0)

    def _level(self) -> None:
        """Each bundle's level, by progressive filling over their links.

        The link that would be full first, as flows stand (free, held), rules the bundles across
        it; if at its level some of their flows should stand otherwise, they do, and the search
        begins again. Each such change lets the lowest level rise and never beyond the true one,
        since what a flow takes, the lesser of its cap and its share, is concave in the level.
        """
        bundles = self._bundles.values()
        links = dict.fromkeys(self._across)
        for bundle in bundles:
            bundle.target = -1.0
        floor = 0.0
        while links:
            level, link = self._fullest(links, floor)
            if link < 0:
                break
            waiting = [bundle for bundle, _ in self._across[link] if bundle.target < 0]
            moved = False
            for bundle in waiting:
                if self._regroup(bundle, level):
                    moved = True
            if moved:
                continue
            for bundle in waiting:
                bundle.target = level
            del links[link]
            floor = level
        for bundle in bundles:
            bundle.set_level(self._now_s, max(bundle.target, 0.0) if bundle.free else 0.0)

    def _fullest(self, links: dict[int, None], floor: float) -> tuple[float, int]:
        """The lowest level at which one of the links is full, and which; -1: none will be.

        Args:
            links: to look at.
            floor: level of those that are known; the others' is no lower, but for rounding.
        """
        lowest, fullest = inf, -1
        for link in links:
            capacity = spare = self._capacity[link]
            asked = 0.0
            waiting = False
            for bundle, place in self._across[link]:
                spare -= bundle.taken.high[place]
                spare -= bundle.taken.low[place]
                demand = bundle.demand.high[place] + bundle.demand.low[place]
                if bundle.target < 0:
                    asked += demand
                    waiting = True
                else:
                    spare -= bundle.target * demand
            if asked:
                level = max(floor, spare / asked)
            elif waiting and spare < -SLACK * capacity:
                # all are at their caps, and that is too much
                level = floor
            else:
                continue
            if level < lowest:
                lowest, fullest = level, link
        return lowest, fullest

    def _regroup(self, bundle: Bundle, level: float) -> bool:
        """Hold what has its cap below the level, let go what is held above; whether any was."""
        caps, held = bundle.caps, bundle.held
        moved = False
        # void entries do not matter here, unless they come first
        while caps and caps[0][0] < level:
            entry = heappop(caps)
            if entry[2].epoch == entry[1]:
                bundle.remove(self._now_s, entry[2])
                self._put(entry[2], bundle, held=True)
                moved = True
        while held and -held[0][0] > level * (1 + SLACK):
            entry = heappop(held)
            if entry[2].epoch == entry[1]:
                bundle.remove(self._now_s, entry[2])
                self._put(entry[2], bundle, held=False)
                moved = True
        return moved
