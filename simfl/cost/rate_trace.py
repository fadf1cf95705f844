"""A link's rate over time, as a file or a scenario gives it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True)
class RateTrace:
    """Piecewise constant: from ``times_s[i]`` on, ``rates_bps[i]``.

    Attributes:
        times_s: ascending, the first is 0.
        rates_bps: as many.
        period_s: after which it starts again; None: the last rate stays.
        shift_s: where in the trace the simulation's time 0 lies.

    >>> trace = RateTrace([0.0, 2.0], [8e6, 1e6], period_s=5.0)
    >>> [trace.rate_at(now_s) for now_s in (0.0, 1.9, 2.0, 5.0, 7.5)]
    [8000000.0, 8000000.0, 1000000.0, 8000000.0, 1000000.0]
    >>> trace.next_change_s(0.0), trace.next_change_s(2.0), trace.shifted(2.0).next_change_s(0.0)
    (2.0, 5.0, 3.0)
    """

    times_s: Sequence[float]
    rates_bps: Sequence[float]
    period_s: float | None = None
    shift_s: float = 0.0

    def rate_at(self, now_s: float) -> float:
        """The rate in bits per second at a simulated time."""
        return self.rates_bps[self._step(now_s)[1]]

    def next_change_s(self, now_s: float) -> float:
        """The first simulated time after ``now_s`` at which the rate changes; inf: never.

        At the time that is returned, and not before, `rate_at` gives the new rate: a clock that
        goes from change to change misses none and never stands still.
        """
        cycle, index = self._step(now_s)
        return self._start_s(cycle, index + 1)

    def shifted(self, shift_s: float) -> RateTrace:
        """The same, begun elsewhere; times and rates are shared."""
        return replace(self, shift_s=shift_s)

    def scaled(self, factor: float) -> RateTrace:
        """The same course at rates ``factor`` times as high."""
        return replace(self, rates_bps=tuple(factor * rate for rate in self.rates_bps))

    def _start_s(self, cycle: int, index: int) -> float:
        """When a step begins, in simulated seconds."""
        if index == len(self.times_s):
            if self.period_s is None:
                return inf
            cycle, index = cycle + 1, 0
        return cycle * (self.period_s or 0.0) + self.times_s[index] - self.shift_s

    def _step(self, now_s: float) -> tuple[int, int]:
        """The repetition and the step in it that hold at a simulated time."""
        seen_s, period_s = now_s + self.shift_s, self.period_s
        cycle = int(seen_s // period_s) if period_s else 0
        index = max(bisect_right(self.times_s, seen_s - cycle * (period_s or 0.0)) - 1, 0)
        # _start_s decides, since who waits is woken at its times; here rounding may be one off
        while self._start_s(cycle, index) > now_s and (cycle, index) > (0, 0):
            cycle, index = (cycle, index - 1) if index else (cycle - 1, len(self.times_s) - 1)
        while self._start_s(cycle, index + 1) <= now_s:
            cycle, index = (cycle, index + 1) if index + 1 < len(self.times_s) else (cycle + 1, 0)
        return cycle, index
