"""Max-min fair flows on any graph: tables, and compiled code that works on them (`kernel`).

Each event costs in the number of flows whose rates it touches, and of the links that these cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simfl.cost import kernel
from simfl.cost.flows import Unfinished

# to work in: rows, links, and a heap of levels by row or link
Scratch = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


class CompiledFlows:
    """The engine for flows that have little in common. Implements `Flows`."""

    def __init__(self, begun: Unfinished) -> None:
        self._now_s = begun.now_s
        self._next = begun.next_flow
        links = len(begun.capacity)
        self._links = np.zeros(links, kernel.LINK)
        self._links["capacity"] = begun.capacity
        self._links["carried"] = begun.carried
        self._links["first"] = -1
        self._counts = np.zeros(1, kernel.COUNTS)
        self._counts["free"] = -1
        self._changed = np.zeros(links, np.int64)
        self._flows = np.zeros(0, kernel.FLOW)
        self._crossings = np.zeros(0, kernel.CROSSING)
        # rows of flows by the end of each
        self._heap = np.zeros(0, np.int64)
        self._scratch: Scratch
        # the row of each flow by number, and rows that nobody has
        self._rows: dict[int, int] = {}
        self._vacant: list[int] = []
        # to be done before time moves on: rows to share, and whether anything is to be shared
        self._fresh: dict[int, None] = {}
        self._stale = False
        self._next_end_s = inf
        self._grow_flows()
        for number, (crossed, usage, bits, left_bits, weight, cap_bps) in begun.flows.items():
            self._add(number, crossed, usage, (bits, left_bits, weight, cap_bps))

    def __len__(self) -> int:
        return len(self._rows)

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
        self._move_to(now_s)
        number = self._next
        self._next = number + 1
        self._add(number, links, usage, (bits, bits, weight, cap_bps))
        return number

    def cut(self, now_s: float, flow: int) -> float:
        """As `Flows.cut`."""
        self._move_to(now_s)
        row = self._rows[flow]
        kernel.remove(*self._tables, self._heap, self._changed, row, now_s)
        self._vacate(row)
        self._stale = True
        return max(0.0, float(self._flows["left_bits"][row]))

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        """As `Flows.change`."""
        self._move_to(now_s)
        row = self._rows[flow]
        if weight is not None:
            self._flows["weight"][row] = weight
        if cap_bps is not None:
            self._flows["cap_bps"][row] = cap_bps
        # what it leaves or takes is others'
        for link in self._links_of(row):
            kernel.mark(self._links, self._counts, self._changed, link)
        self._fresh[row] = None
        self._stale = True

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        """As `Flows.set_capacity`."""
        self._move_to(now_s)
        self._links["capacity"][link] = capacity
        kernel.mark(self._links, self._counts, self._changed, link)
        self._stale = True

    # -- what comes of it

    def next_end_s(self) -> float:
        """As `Flows.next_end_s`."""
        if self._stale:
            self._settle()
        return self._next_end_s

    def ended(self, now_s: float) -> list[int]:
        """As `Flows.ended`."""
        self._move_to(now_s)
        over = self._scratch[0]
        many = kernel.end(*self._tables, self._heap, self._changed, over, now_s)
        rows: list[int] = over[:many].tolist()
        self._stale = self._stale or many > 0
        return sorted([self._vacate(row) for row in rows])

    def rate_bps(self, flow: int) -> float:
        """As `Flows.rate_bps`."""
        self._settle()
        return float(self._flows["rate_bps"][self._rows[flow]])

    def left_bits(self, now_s: float, flow: int) -> float:
        """As `Flows.left_bits`."""
        self._move_to(now_s)
        row = self._flows[self._rows[flow]]
        return max(0.0, float(row["left_bits"] - row["rate_bps"] * (now_s - row["since_s"])))

    def carried(self, now_s: float) -> list[float]:
        """As `Flows.carried`."""
        self._move_to(now_s)
        carried = self._links["carried"].copy()
        for row in self._rows.values():
            it = self._flows[row]
            left_bits = it["left_bits"] - it["rate_bps"] * (now_s - it["since_s"])
            at = it["first"]
            while at >= 0:
                crossing = self._crossings[at]
                carried[crossing["link"]] += crossing["usage"] * (it["bits"] - max(left_bits, 0.0))
                at = crossing["along"]
        return [float(it) for it in carried]

    # -- inside

    @property
    def _tables(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        return self._flows, self._links, self._crossings, self._counts

    def _move_to(self, now_s: float) -> None:
        if now_s != self._now_s:
            if self._stale:
                self._settle()
            self._now_s = now_s

    def _settle(self) -> None:
        """Share anew what changed at this instant."""
        if not self._stale:
            return
        fresh = np.array(list(self._fresh), np.int64)
        self._fresh.clear()
        self._next_end_s = kernel.share(
            *self._tables, self._heap, self._changed, fresh, self._scratch, self._now_s
        )
        self._stale = False

    def _add(
        self,
        number: int,
        links: Sequence[int],
        usage: Sequence[float],
        sizes: tuple[float, float, float, float],
    ) -> None:
        """A flow of (bits, bits left, weight, cap) into the tables."""
        if not self._vacant:
            self._grow_flows()
        while self._counts["crossings"][0] + len(links) > len(self._crossings):
            self._grow_crossings()
        row = self._vacant.pop()
        it = self._flows[row]
        it["number"] = number
        it["bits"], it["left_bits"], it["weight"], it["cap_bps"] = sizes
        it["since_s"] = self._now_s
        crossed = np.array(links, np.int64)
        kernel.add(*self._tables, self._heap, row, crossed, np.array(usage, np.float64))
        self._rows[number] = row
        self._fresh[row] = None
        self._stale = True

    def _vacate(self, row: int) -> int:
        """A removed flow's row is free; gives its number."""
        number = int(self._flows["number"][row])
        del self._rows[number]
        self._vacant.append(row)
        self._fresh.pop(row, None)
        return number

    def _links_of(self, row: int) -> list[int]:
        links = []
        at = self._flows["first"][row]
        while at >= 0:
            links.append(int(self._crossings["link"][at]))
            at = self._crossings["along"][at]
        return links

    def _grow_flows(self) -> None:
        """Twice the rows, and what is as long."""
        had = len(self._flows)
        rows = max(64, 2 * had)
        self._flows = np.concatenate([self._flows, np.zeros(rows - had, kernel.FLOW)])
        self._heap = np.concatenate([self._heap, np.zeros(rows - had, np.int64)])
        self._vacant.extend(range(rows - 1, had - 1, -1))
        links = len(self._links)
        self._scratch = (
            np.zeros(rows, np.int64),
            np.zeros(links, np.int64),
            np.zeros(rows + links, np.float64),
            np.zeros(rows + links, np.int64),
        )

    def _grow_crossings(self) -> None:
        """Twice the rows, the new ones on the free list."""
        had = len(self._crossings)
        rows = max(256, 2 * had)
        new = np.zeros(rows - had, kernel.CROSSING)
        new["along"] = np.arange(had + 1, rows + 1)
        new["along"][-1] = self._counts["free"][0]
        self._counts["free"] = had
        self._crossings = np.concatenate([self._crossings, new])
