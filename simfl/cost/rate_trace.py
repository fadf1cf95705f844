"""A link's rate over time, as a file or a scenario gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RateTrace:
    """Piecewise constant: from ``times_s[i]`` on, ``rates_bps[i]``.

    Attributes:
        times_s: ascending, the first is 0.
        rates_bps: as many.
        period_s: after which it starts again; None: the last rate stays.
        shift_s: where in the trace the simulation's time 0 lies.
    """

    times_s: Sequence[float]
    rates_bps: Sequence[float]
    period_s: float | None = None
    shift_s: float = 0.0

    def rate_at(self, now_s: float) -> float:
        """The rate in bits per second at a simulated time."""
        raise NotImplementedError

    def next_change_s(self, now_s: float) -> float:
        """The first simulated time after ``now_s`` at which the rate changes; inf: never."""
        raise NotImplementedError
