"""Wires as resources: what a transfer between two places crosses, and what it waits for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property, lru_cache
from math import inf, isinf
from typing import Final, Protocol

from simfl.cost.framing import UNFRAMED, Framing
from simfl.cost.sharing import Route
from simfl.cost.transport import FLUID, HEADER_BYTES, Transport
from simfl.cost.wires import Hop, Wires

SERVER: Final = "server"
_KEPT: Final = 1 << 16


class NetworkModel(Protocol):
    """Capacities, and the route and fixed delay between two places (node names)."""

    def capacity_at(self, now_s: float) -> Mapping[Hashable, float]:
        """Capacity of each resource: bits per second, or 1 for a medium's airtime."""

    def next_change_s(self, now_s: float) -> float:
        """When a capacity changes next; inf: never."""

    def route(self, source: str, target: str) -> Route | None:
        """What one flow crosses; None where there is no way."""

    def delay_s(self, source: str, target: str, nbytes: int) -> float:
        """Fixed time before the first bit, during which nothing is held."""

    def wire_bytes(self, nbytes: int) -> int:
        """What a message of ``nbytes`` is once framed."""


class WiresModel:
    """Wires by max-min sharing: the latency of the path, then the fair rate.

    Of the transport only the headers count: each bit of payload takes (segment + headers + the
    link's overhead) / segment of a link; of the air, the time of a full channel access over the
    bits of payload in it. Links without limit are left out.

    Args:
        wires: links and paths.
        transport: whether there are headers at all.
        framing: what wraps a message.
    """

    def __init__(
        self, wires: Wires, transport: Transport = FLUID, framing: Framing = UNFRAMED
    ) -> None:
        self._wires, self._transport, self._framing = wires, transport, framing
        self._way = lru_cache(maxsize=_KEPT)(self._find)

    @cached_property
    def _traced(self) -> list[int]:
        return [
            index for index, link in enumerate(self._wires.links) if link.trace and not link.cell
        ]

    @cached_property
    def _fixed(self) -> dict[Hashable, float]:
        return {
            index: 1.0 if link.cell else link.rate_bps
            for index, link in enumerate(self._wires.links)
            if link.cell or link.trace or not isinf(link.rate_bps)
        }

    def capacity_at(self, now_s: float) -> Mapping[Hashable, float]:
        """By index of a link; of a cell all of its airtime."""
        if not self._traced:
            return self._fixed
        now: dict[Hashable, float] = {}
        for index in self._traced:
            trace = self._wires.links[index].trace
            assert trace is not None
            now[index] = trace.rate_at(now_s)
        return self._fixed | now

    def next_change_s(self, now_s: float) -> float:
        """The first change of any trace."""
        traces = (self._wires.links[index].trace for index in self._traced)
        return min((trace.next_change_s(now_s) for trace in traces if trace), default=inf)

    def route(self, source: str, target: str) -> Route | None:
        """The links of the path, and what a bit of payload takes of each."""
        return self._way(source, target)[0]

    def _find(self, source: str, target: str) -> tuple[Route | None, float]:
        """Route and latency."""
        path = self._wires.path(source, target)
        if path is None:
            return None, 0.0
        route: dict[Hashable, float] = {}
        for hop in path.out:
            if hop.link in self._fixed:
                route[hop.link] = route.get(hop.link, 0.0) + self._usage(hop)
        return route, sum(self._wires.links[hop.link].latency_s for hop in path.out)

    def _usage(self, hop: Hop) -> float:
        link, mss = self._wires.links[hop.link], self._transport.mss_bytes
        ideal = self._transport.kind == "fluid" or not self._transport.headers
        packet = mss if ideal else mss + HEADER_BYTES + link.overhead_bytes
        if link.cell is None:
            return packet / mss
        cell = link.cell
        access_s = cell.access_s / (8.0 * cell.aggregation * mss)
        return access_s + packet / mss / cell.station_bps[hop.station]

    def delay_s(self, source: str, target: str, nbytes: int) -> float:
        """The latencies of the path's links, and the time of writing and reading the message."""
        return self._way(source, target)[1] + self._framing.seconds(nbytes)

    def wire_bytes(self, nbytes: int) -> int:
        """What a message of ``nbytes`` is once framed."""
        return self._framing.wire_bytes(nbytes)
