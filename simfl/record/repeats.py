"""What repeats say: percentiles over possible worlds, and in how many there is no figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isinf, isnan, nan
from typing import Final

import yaml

from simfl.record.curve import row_reached
from simfl.record.reader import Trace

SHARES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the worlds, those that are at most at each percentile."""
# what varies; of these, what nobody knows in any world is left out
_FIGURES: Final = ("time_s", "target_s", "joules", "target_joules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One figure over possible worlds.

    Attributes:
        percentiles: at `SHARES`, of the worlds in which it is known; inf where that many never
            get there.
        worlds: in all.
        never: of them, those that never get there.
        unknown: of them, those of which it is not known.
    """

    percentiles: tuple[float, ...]
    worlds: int
    never: int
    unknown: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of a figure; inf is never, nan is not known.

        >>> Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]).percentiles
        (1.2, 2.0, 3.0, 4.0, 4.8)
        """
        every = list(values)
        known = sorted(value for value in every if not isnan(value))
        return cls(
            percentiles=tuple(_percentile(known, share) for share in SHARES),
            worlds=len(every),
            never=sum(map(isinf, known)),
            unknown=len(every) - len(known),
        )


def spreads(trace: Trace) -> dict[str, Spread]:
    """Of each figure that is known in some world: its spread, by column of the table."""
    return _known({name: trace.repeats[name].tolist() for name in _FIGURES})


def _known(figures: Mapping[str, list[float]]) -> dict[str, Spread]:
    """Spreads of the figures that are known in some world."""
    found = {name: Spread.of(values) for name, values in figures.items()}
    return {name: spread for name, spread in found.items() if spread.unknown < spread.worlds}


def spreads_to(trace: Trace, target: float, consecutive: int = 1) -> dict[str, Spread]:
    """Seconds and joules until an accuracy was held in so many evaluations in a row.

    Of a world in which an accuracy before that is not known, neither are they.

    Returns:
        Spreads of ``time_s`` and ``joules``, as far as they are known in some world; none where the
        curves of the worlds are not recorded.
    """
    curves = {draw: found for draw, found in trace.repeat_curves.groupby("draw")}
    reached: dict[str, list[float]] = {"time_s": [], "joules": []}
    for draw in trace.repeats["draw"]:
        found = curves.get(draw)
        at = None if found is None else row_reached(found, target, consecutive)
        unknown = found is None or bool(found["accuracy"].iloc[:at].isna().any())
        for name, values in reached.items():
            if found is None or unknown:
                values.append(nan)
            else:
                values.append(inf if at is None else float(found[name].iloc[at]))
    return _known(reached)


def lacking(trace: Trace) -> list[int]:
    """The draws that the scenario asks for, and that the trace does not have."""
    asked = yaml.safe_load(trace.scenario)["repeats"]
    return sorted(set(range(1, asked + 1)) - set(trace.repeats["draw"].tolist()))


def _percentile(ordered: list[float], share: float) -> float:
    """Between the two nearest, in proportion; beyond the last that is finite, inf."""
    if not ordered:
        return nan
    at = share * (len(ordered) - 1)
    below = int(at)
    part = at - below
    if not part:
        return ordered[below]
    if isinf(ordered[below + 1]):
        return inf
    return ordered[below] + (ordered[below + 1] - ordered[below]) * part
