"""Flows under audit: what every link carries is added up a second time, and never too much.

Each event costs in the number of flows in progress, so this is for runs that are to be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from simfl.cost.fair import fitting
from simfl.cost.flows import Flows
from simfl.errors import CostError

# relative: what rounding may make of sums over many flows
_TOLERANCE: Final = 1e-9


class AuditedFlows:
    """An engine whose books are kept twice. Implements `Flows`.

    Attributes:
        peak: the highest load of each link, as a share of its capacity at that time.
    """

    def __init__(self, flows: Flows, capacity: Sequence[float]) -> None:
        self._flows = flows
        self._capacity = list(capacity)
        self._crossed: dict[int, tuple[Sequence[int], Sequence[float]]] = {}
        self._since_s = 0.0
        self._load = [0.0] * len(capacity)
        self._carried = [0.0] * len(capacity)
        self.peak = [0.0] * len(capacity)

    def __len__(self) -> int:
        return len(self._flows)

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
        self._add_up(now_s)
        flow = self._flows.start(now_s, links, usage, bits, weight=weight, cap_bps=cap_bps)
        self._crossed[flow] = links, usage
        return flow

    def cut(self, now_s: float, flow: int) -> float:
        """As `Flows.cut`."""
        self._add_up(now_s)
        del self._crossed[flow]
        return self._flows.cut(now_s, flow)

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        """As `Flows.change`."""
        self._add_up(now_s)
        self._flows.change(now_s, flow, weight=weight, cap_bps=cap_bps)

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        """As `Flows.set_capacity`."""
        self._add_up(now_s)
        self._capacity[link] = capacity
        self._flows.set_capacity(now_s, link, capacity)

    def next_end_s(self) -> float:
        """As `Flows.next_end_s`.

        Raises:
            CostError: a link is above its capacity.
        """
        self._flows = fitting(self._flows)
        end_s = self._flows.next_end_s()
        load = [0.0] * len(self._capacity)
        for flow, (links, usages) in self._crossed.items():
            rate_bps = self._flows.rate_bps(flow)
            for link, usage in zip(links, usages, strict=True):
                load[link] += rate_bps * usage
        for link, capacity in enumerate(self._capacity):
            if load[link] > capacity * (1 + _TOLERANCE):
                raise CostError(
                    f"link {link} carries {load[link]:g} of {capacity:g} "
                    f"at {self._since_s:g} s, by flows {self._across(link)}"
                )
            if load[link]:
                self.peak[link] = max(self.peak[link], load[link] / capacity)
        self._load = load
        return end_s

    def ended(self, now_s: float) -> list[int]:
        """As `Flows.ended`."""
        self._add_up(now_s)
        over = self._flows.ended(now_s)
        for flow in over:
            del self._crossed[flow]
        return over

    def rate_bps(self, flow: int) -> float:
        """As `Flows.rate_bps`."""
        return self._flows.rate_bps(flow)

    def left_bits(self, now_s: float, flow: int) -> float:
        """As `Flows.left_bits`."""
        return self._flows.left_bits(now_s, flow)

    def carried(self, now_s: float) -> list[float]:
        """As `Flows.carried`, which is what flows took in, less what is left of them.

        Raises:
            CostError: the integral of a link's load is another.
        """
        self._add_up(now_s)
        carried = self._flows.carried(now_s)
        for link, (one, other) in enumerate(zip(carried, self._carried, strict=True)):
            if abs(one - other) > _TOLERANCE * max(one, other, self._capacity[link]):
                raise CostError(
                    f"link {link} has carried {one:.12g} by its flows' sizes "
                    f"and {other:.12g} by its load, up to {now_s:g} s"
                )
        return carried

    def _across(self, link: int) -> list[int]:
        return [flow for flow, (links, _) in self._crossed.items() if link in links]

    def _add_up(self, now_s: float) -> None:
        """The load's integral up to now; it was looked at when it last changed."""
        for link, load in enumerate(self._load):
            self._carried[link] += load * (now_s - self._since_s)
        self._since_s = now_s
