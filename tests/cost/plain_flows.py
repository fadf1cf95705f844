"""The slow reference: all rates anew from the definition, every flow brought up to each instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from simfl.cost.flows import is_over
from simfl.cost.sharing import Route, max_min_rates


@dataclass
class PlainFlow:
    route: Route
    bits: float
    left_bits: float
    weight: float
    cap_bps: float
    rate_bps: float = 0.0
    end_s: float = inf


class PlainFlows:
    """Implements `Flows`."""

    def __init__(self, capacity: Sequence[float]) -> None:
        self.capacity = list(capacity)
        self.flows: dict[int, PlainFlow] = {}
        self.now_s = 0.0
        self.next = 0
        self.gone = [0.0] * len(capacity)

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
        self._move_to(now_s)
        route = dict(zip(links, usage, strict=True))
        self.flows[self.next] = PlainFlow(route, bits, bits, weight, cap_bps)
        self.next += 1
        return self.next - 1

    def cut(self, now_s: float, flow: int) -> float:
        self._move_to(now_s)
        self._count(self.flows[flow], self.gone)
        return max(0.0, self.flows.pop(flow).left_bits)

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        self._move_to(now_s)
        it = self.flows[flow]
        it.weight = it.weight if weight is None else weight
        it.cap_bps = it.cap_bps if cap_bps is None else cap_bps

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        self._move_to(now_s)
        self.capacity[link] = capacity

    def next_end_s(self) -> float:
        self._share()
        return max(self.now_s, min([f.end_s for f in self.flows.values()], default=inf))

    def ended(self, now_s: float) -> list[int]:
        self._move_to(now_s)
        over = [
            number
            for number, flow in self.flows.items()
            if flow.end_s <= now_s or is_over(flow.left_bits, flow.rate_bps, now_s)
        ]
        for flow in over:
            self._count(self.flows.pop(flow), self.gone)
        return over

    def rate_bps(self, flow: int) -> float:
        self._share()
        return self.flows[flow].rate_bps

    def left_bits(self, now_s: float, flow: int) -> float:
        self._move_to(now_s)
        return max(0.0, self.flows[flow].left_bits)

    def carried(self, now_s: float) -> list[float]:
        self._move_to(now_s)
        carried = list(self.gone)
        for flow in self.flows.values():
            self._count(flow, carried)
        return carried

    def _count(self, flow: PlainFlow, carried: list[float]) -> None:
        for link, usage in flow.route.items():
            carried[link] += usage * (flow.bits - max(0.0, flow.left_bits))

    def _share(self) -> None:
        flows = list(self.flows.values())
        rates = max_min_rates(
            [f.route for f in flows],
            dict(enumerate(self.capacity)),
            weights=[f.weight for f in flows],
            caps_bps=[f.cap_bps for f in flows],
        )
        for flow, rate in zip(flows, rates, strict=True):
            flow.rate_bps = rate
            flow.end_s = self.now_s + flow.left_bits / rate if rate else inf

    def _move_to(self, now_s: float) -> None:
        if now_s != self.now_s:
            self._share()
            for flow in self.flows.values():
                flow.left_bits -= flow.rate_bps * (now_s - self.now_s)
            self.now_s = now_s
