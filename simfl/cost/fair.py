"""Max-min fair flows on any wires: in bundles while these are few, else by the compiled solver.

Bundles are the better the more flows run alike: a star, a cell, cells behind a backbone. Where
nearly every flow has shared links of its own, as on a graph, each change is worked out flow by flow
in compiled code, over the part of the graph that it touches. Which of them runs depends on the
flows alone, never on the machine, and both give the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from simfl.cost.bundles import Bundles
from simfl.cost.flows import Flows

# More bundles than this go to the compiled solver. Here an event takes both of them some 0.5 ms;
# below, importing numba (about 1 s) would cost more than it saves: 11 peers that all talk to each
# other stay without. Measured with analysis/benchmarks/network_scale.py.
MANY_BUNDLES: Final = 128


class FairFlows:
    """Max-min fair flows. Implements `Flows`."""

    def __init__(self, capacity: Sequence[float]) -> None:
        self._bundles: Bundles | None = Bundles(capacity)
        self._engine: Flows = self._bundles

    def __len__(self) -> int:
        return len(self._engine)

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
        return self._engine.start(now_s, links, usage, bits, weight=weight, cap_bps=cap_bps)

    def cut(self, now_s: float, flow: int) -> float:
        """As `Flows.cut`."""
        return self._engine.cut(now_s, flow)

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        """As `Flows.change`."""
        self._engine.change(now_s, flow, weight=weight, cap_bps=cap_bps)

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        """As `Flows.set_capacity`."""
        self._engine.set_capacity(now_s, link, capacity)

    def next_end_s(self) -> float:
        """As `Flows.next_end_s`."""
        if self._bundles is not None and self._bundles.gather() > MANY_BUNDLES:
            self._go_over(self._bundles)
        return self._engine.next_end_s()

    def ended(self, now_s: float) -> list[int]:
        """As `Flows.ended`."""
        return self._engine.ended(now_s)

    def rate_bps(self, flow: int) -> float:
        """As `Flows.rate_bps`."""
        return self._engine.rate_bps(flow)

    def left_bits(self, now_s: float, flow: int) -> float:
        """As `Flows.left_bits`."""
        return self._engine.left_bits(now_s, flow)

    def carried(self, now_s: float) -> list[float]:
        """As `Flows.carried`."""
        return self._engine.carried(now_s)

    def _go_over(self, bundles: Bundles) -> None:
        """To the compiled solver, for good; imported only now, since numba is slow to import."""
        from simfl.cost.compiled import CompiledFlows

        self._engine = CompiledFlows.going_on(bundles.hand_over())
        self._bundles = None
