"""Messages as fluid flows: max-min fair shares, with TCP's effects in closed form or without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import heappop, heappush
from math import inf, isinf

from simfl.cost.bundles import Bundles
from simfl.cost.carrier import LinkUse, Ways, uses_of
from simfl.cost.corrections import message_bound_bps, rate_bound_bps, slow_start_s
from simfl.cost.fair import fitting
from simfl.cost.flows import Flows
from simfl.cost.framing import UNFRAMED
from simfl.cost.route import Route, route_of
from simfl.cost.wires import Link, capacity_of


@dataclass(slots=True)
class _Way:
    """What a flow takes between two places; and the bits that were asked of it so far."""

    links: tuple[int, ...]
    usage: tuple[float, ...]
    latency_s: float
    setup_s: float
    rtt_s: float
    rate_bps: float
    bound_bps: float
    weight: float
    jitters: bool
    traced: tuple[int, ...]
    lossy: Route | None
    simple: bool = False
    asked_bits: float = 0.0


class FairCarrier:
    """Flows share by max-min fairness; TCP's slow start and set-up are time before they begin.

    Slow start is charged as if the flow were alone, acknowledgements are not; for both see
    `simfl.cost.window_carrier`.
    """

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._flows: Flows = Bundles([capacity_of(link, 0.0) for link in ways.links])
        # links with a rate trace: how many flows cross each, and when those in use change next
        self._crossing: Counter[int] = Counter()
        self._followed: set[int] = set()
        self._changes: list[tuple[float, int]] = []
        self._under_way: dict[int, tuple[_Way, float]] = {}
        self._cut = [0.0] * len(ways.links)
        self._between: dict[tuple[str, str], _Way] = {}
        # what most scenarios do without costs most of their messages nothing
        self._plain = ways.framing == UNFRAMED
        self._slow = lru_cache(maxsize=1 << 12)(
            lambda bits, rate_bps, rtt_s: slow_start_s(bits, rate_bps, rtt_s, ways.transport)
        )
        self._bound = lru_cache(maxsize=1 << 12)(
            lambda bits, rate_bps, route: message_bound_bps(bits, rate_bps, route, ways.transport)
        )

    def __len__(self) -> int:
        """How many messages are in progress."""
        return len(self._flows)

    def delay_s(self, source: str, target: str, nbytes: int) -> float:
        """Latency, framing, set-up and slow start."""
        way = self._between.get((source, target)) or self._find_way(source, target)
        if way.simple:
            return way.latency_s
        ways = self._ways
        seconds = way.latency_s + ways.framing.seconds(nbytes) + way.setup_s
        if way.jitters:
            seconds += ways.jitter_s(source, target, ways.path(source, target))
        if way.rtt_s and nbytes:
            seconds += self._slow(8.0 * ways.framing.wire_bytes(nbytes), way.rate_bps, way.rtt_s)
        return seconds

    def start(self, now_s: float, source: str, target: str, nbytes: int) -> int | None:
        """Begin a flow; None where no link limits or nothing is sent."""
        way = self._between.get((source, target)) or self._find_way(source, target)
        bits = 8.0 * (nbytes if self._plain else self._ways.framing.wire_bytes(nbytes))
        if not bits or not (way.links or way.bound_bps < inf):
            return None
        self._follow(now_s)
        for link in way.traced:
            self._crossing[link] += 1
            if link not in self._followed:
                self._followed.add(link)
                self._change(now_s, link)
        way.asked_bits += bits
        bound_bps = way.bound_bps
        if way.lossy:
            bound_bps = self._bound(bits, way.rate_bps, way.lossy)
        flow = self._flows.start(
            now_s, way.links, way.usage, bits, weight=way.weight, cap_bps=bound_bps
        )
        self._under_way[flow] = way, bits
        return flow

    def cut(self, now_s: float, flow: int) -> float:
        """Give up a flow."""
        self._follow(now_s)
        left_bits, (way, bits) = self._flows.cut(now_s, flow), self._under_way.pop(flow)
        self._crossing.subtract(way.traced)
        for link, share in zip(way.links, way.usage, strict=True):
            self._cut[link] += share * left_bits
        return left_bits / bits

    def next_s(self) -> float:
        """The next end, or the next change of a rate while there are flows."""
        self._flows = fitting(self._flows)
        end_s = self._flows.next_end_s()
        if not self._changes or not len(self._flows):
            return end_s
        return min(end_s, self._changes[0][0])

    def ended(self, now_s: float) -> list[int]:
        """Flows that are over."""
        self._follow(now_s)
        over = self._flows.ended(now_s)
        for flow in over:
            way, _ = self._under_way.pop(flow)
            if way.traced:
                self._crossing.subtract(way.traced)
        return over

    def loads(self, now_s: float) -> Iterator[tuple[str, float, float]]:
        """Rates by link."""
        self._follow(now_s)
        loads: dict[int, float] = {}
        for flow, (way, _) in self._under_way.items():
            rate_bps = self._flows.rate_bps(flow)
            for link, share in zip(way.links, way.usage, strict=True):
                loads[link] = loads.get(link, 0.0) + share * rate_bps
        for link, load in loads.items():
            yield self._ways.links[link].name, load, capacity_of(self._ways.links[link], now_s)

    def uses(self, now_s: float) -> list[LinkUse]:
        """Of the links that somebody asked for."""
        self._follow(now_s)
        carried = self._flows.carried(now_s)
        waiting, asked = [0.0] * len(carried), [0.0] * len(carried)
        for way in self._between.values():
            for link, share in zip(way.links, way.usage, strict=True):
                asked[link] += share * way.asked_bits
        for flow, (way, _) in self._under_way.items():
            left_bits = self._flows.left_bits(now_s, flow)
            for link, share in zip(way.links, way.usage, strict=True):
                waiting[link] += share * left_bits
        return uses_of(
            self._ways.links,
            asked=asked,
            carried=carried,
            cut=self._cut,
            waiting=waiting,
            used=carried,
            now_s=now_s,
        )

    def _follow(self, now_s: float) -> None:
        """Let the rates of links in use change when they do; who is idle is let go."""
        changes = self._changes
        while changes and changes[0][0] <= now_s:
            at_s, link = heappop(changes)
            if self._crossing[link]:
                self._change(at_s, link)
            else:
                self._followed.remove(link)

    def _change(self, now_s: float, link: int) -> None:
        """The rate that a trace gives now, and when it gives another."""
        trace = self._ways.links[link].trace
        assert trace is not None
        self._flows.set_capacity(now_s, link, trace.rate_at(now_s))
        heappush(self._changes, (trace.next_change_s(now_s), link))

    def _find_way(self, source: str, target: str) -> _Way:
        ways, transport = self._ways, self._ways.transport
        path = ways.path(source, target)
        route = route_of(ways.links, path, transport)
        usage: dict[int, float] = {}
        for hop, share in zip(path.out, route.usage, strict=True):
            if not isinf(capacity_of(ways.links[hop.link], 0.0)):
                usage[hop.link] = usage.get(hop.link, 0.0) + share
        tcp = transport.kind == "tcp"
        # at best: who begins in an outage of a trace waits for its end all the same
        rates = [_best(ways.links[link]) / share for link, share in usage.items()]
        # what the window alone lets through; a loss comes later, if at all
        bound_bps = rate_bound_bps(replace(route, loss=0.0), transport) if tcp else inf
        way = self._between[source, target] = _Way(
            links=tuple(sorted(usage)),
            usage=tuple(usage[link] for link in sorted(usage)),
            latency_s=sum(ways.links[hop.link].latency_s for hop in path.out),
            setup_s=route.setup_s if tcp and transport.connection_setup == "cold" else 0.0,
            rtt_s=route.rtt_s if tcp else 0.0,
            rate_bps=min([*rates, bound_bps]),
            bound_bps=bound_bps,
            weight=1 / route.rtt_s if tcp and transport.weighted_by_rtt and route.rtt_s else 1.0,
            jitters=any(ways.links[hop.link].jitter_s for hop in path.out),
            traced=tuple(link for link in sorted(usage) if ways.links[link].trace),
            lossy=route if tcp and transport.loss and route.loss > 0 else None,
        )
        way.simple = self._plain and not (way.setup_s or way.rtt_s or way.jitters)
        return way


def _best(link: Link) -> float:
    """The highest capacity that a link ever has."""
    return max(link.trace.rates_bps) if link.trace and not link.cell else capacity_of(link, 0.0)
