"""Messages as TCP flows that follow their congestion windows, round trip by round trip."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from simfl.cost.carrier import LinkUse, Ways
from simfl.cost.route import Route, route_of
from simfl.cost.windows import WindowFlows
from simfl.cost.wires import Path


class WindowCarrier:
    """Each message is a TCP flow on an open and idle, or a new, connection."""

    def __init__(self, ways: Ways, *, seed: int) -> None:
        self._ways = ways
        self._flows = WindowFlows(ways.links, ways.transport, seed=seed)
        self._bits: dict[int, float] = {}
        self._way = lru_cache(maxsize=1 << 16)(self._find_way)

    def __len__(self) -> int:
        """How many messages are in progress."""
        return len(self._flows)

    def delay_s(self, source: str, target: str, nbytes: int) -> float:
        """Framing and jitter; and the way itself, for a message without any bytes."""
        path, route = self._way(source, target)
        ways = self._ways
        seconds = ways.framing.seconds(nbytes) + ways.jitter_s(source, target, path)
        if not ways.framing.wire_bytes(nbytes):
            seconds += route.out_s
            if ways.transport.connection_setup == "cold":
                seconds += route.setup_s
        return seconds

    def start(self, now_s: float, source: str, target: str, nbytes: int) -> int | None:
        """Begin a flow; None where nothing is sent."""
        size = self._ways.framing.wire_bytes(nbytes)
        key = self._ways.key(source, target)
        if not size:
            return None
        flow = self._flows.start(now_s, *self._way(source, target), size, key=key)
        self._bits[flow] = 8.0 * size
        return flow

    def cut(self, now_s: float, flow: int) -> float:
        """Give up a flow."""
        return self._flows.cut(now_s, flow) / self._bits.pop(flow)

    def next_s(self) -> float:
        """The next arrival, or change of a link's rate."""
        return self._flows.next_s()

    def ended(self, now_s: float) -> list[int]:
        """Flows whose last byte has arrived."""
        over = self._flows.ended(now_s)
        for flow in over:
            del self._bits[flow]
        return over

    def loads(self, now_s: float) -> Iterator[tuple[str, float, float]]:
        """As the windows stand."""
        yield from self._flows.loads(now_s)

    def uses(self, now_s: float) -> list[LinkUse]:
        """Of the links that somebody asked for."""
        return self._flows.uses(now_s)

    def _find_way(self, source: str, target: str) -> tuple[Path, Route]:
        path = self._ways.path(source, target)
        return path, route_of(self._ways.links, path, self._ways.transport)
