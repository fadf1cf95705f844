"""A study's table, read: what was changed, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log, nan
from pathlib import Path
from typing import Final

import pandas as pd

from simfl.errors import ScenarioError
from simfl.reporting.blocks import Show, accuracy, count, joules, nbytes, seconds
from simfl.units import UNITS, parse


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a point.

    Attributes:
        called: by a person.
        show: as text.
        unit: on an axis.
        most: whether more is better.
    """

    called: str
    show: Show
    unit: str = ""
    most: bool = False

    @property
    def title(self) -> str:
        """On an axis."""
        return f"{self.called}, {self.unit}" if self.unit else self.called


MEASURES: Final = {
    "target_s": Measure("time to target", seconds, "s"),
    "time_s": Measure("time", seconds, "s"),
    "sent_bytes": Measure("bytes", nbytes, "B"),
    "target_joules": Measure("energy to target", joules, "J"),
    "joules": Measure("energy", joules, "J"),
    # of possible worlds, where the points have repeats
    "target_p50_s": Measure("time to target, median", seconds, "s"),
    "time_p50_s": Measure("time, median", seconds, "s"),
    "target_joules_p50": Measure("energy to target, median", joules, "J"),
    "joules_p50": Measure("energy, median", joules, "J"),
    "accuracy": Measure("accuracy", accuracy, most=True),
    "rounds": Measure("rounds", count),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Points of a what-if or a sweep.

    Attributes:
        points: a row for each, with ``sent_bytes`` in both directions; figures are numbers, nan
            where a point failed or they are not known, keys are text.
        keys: those that take more than one value.
    """

    points: pd.DataFrame
    keys: tuple[str, ...]

    @property
    def alike(self) -> dict[str, str]:
        """Keys that are the same at all points, with their value."""
        columns = list(self.points.columns)
        end = min(columns.index(name) for name in ("time_s", "status") if name in columns)
        return {key: str(self.points[key].iloc[0]) for key in columns[:end] if key not in self.keys}

    @property
    def measures(self) -> dict[str, Measure]:
        """Those that are known of some point."""
        return {
            name: measure
            for name, measure in MEASURES.items()
            if name in self.points and self.points[name].nunique() > 0
        }

    def values(self, key: str) -> list[str]:
        """What a key was set to, from the least, or in the table's order."""
        found = list(dict.fromkeys(self.points[key]))
        numbers = {text: number_of(text) for text in found}
        return sorted(found, key=numbers.__getitem__) if _known(numbers) else found

    def numeric(self, key: str) -> bool:
        """Whether all its values are numbers or quantities."""
        return _known({text: number_of(text) for text in self.values(key)})

    def axes(self) -> tuple[str, str] | None:
        """The keys across and up: a bandwidth if there is one, and a level; None for one key."""
        if len(self.keys) < 2:
            return None
        across = next((key for key in self.keys if self._is_rate(key)), None)
        if across is None:
            across = next((key for key in self.keys if self.numeric(key)), self.keys[0])
        others = [key for key in self.keys if key != across]
        up = next((key for key in others if key.startswith("learning.")), others[0])
        return across, up

    def _is_rate(self, key: str) -> bool:
        texts = self.values(key)
        return all(text.endswith("/s") for text in texts) and self.numeric(key)


def read_study(path: Path) -> Study:
    """The table that `simfl whatif --table` or `simfl sweep` wrote.

    Raises:
        ScenarioError: no such file, or another table.
    """
    if not path.is_file():
        raise ScenarioError(f"{path}: no such file; give the table of a sweep or what-if")
    try:
        points = (
            pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
        )
    except (ValueError, ImportError) as error:
        raise ScenarioError(f"{path}: no table can be read from it: {error}") from error
    return study_of(points, str(path))


def study_of(table: pd.DataFrame, named: str) -> Study:
    """The table that `simfl.whatif` or `simfl.sweep` gave.

    Args:
        table: left as it is.
        named: what an error calls it.

    Raises:
        ScenarioError: another table.
    """
    points = table.reset_index(drop=True)
    columns = list(points.columns)
    ends = [columns.index(name) for name in ("time_s", "status") if name in columns]
    if "status" not in columns or not len(points) or not min(ends):
        raise ScenarioError(
            f"{named}: not the table of a sweep or what-if: it has no column 'status' behind "
            "changed keys; give sweep.csv, or what whatif --table wrote"
        )
    keys = columns[: min(ends)]
    points[keys] = points[keys].astype(object).fillna("null").astype(str)
    for name in columns[min(ends) :]:
        if name not in ("status", "trace", "first_anew"):
            points[name] = pd.to_numeric(points[name], errors="coerce")
    if {"down_bytes", "up_bytes"} <= set(columns):
        at = points.columns.get_loc("up_bytes")
        points.insert(int(at) + 1, "sent_bytes", points["down_bytes"] + points["up_bytes"])  # type: ignore[arg-type]
    return Study(points=points, keys=tuple(key for key in keys if points[key].nunique() > 1))


def number_of(text: str) -> float:
    """A number or quantity in SI units; nan where it is neither.

    >>> number_of("5 Mbit/s"), number_of("0.5"), number_of("{name: coo}")
    (5000000.0, 0.5, nan)
    """
    try:
        return float(text)
    except ValueError:
        pass
    for dimension in UNITS:
        try:
            return parse(text, dimension)
        except ValueError:
            continue
    return nan


def last(key: str) -> str:
    """What a key is called on an axis.

    >>> last("platform.network.rate")
    'rate'
    """
    return key.rpartition(".")[2]


def break_even(ours: Mapping[float, float], theirs: Mapping[float, float]) -> list[float]:
    """At which values of what is across two lines cross, each straight on logarithmic axes.

    Args:
        ours: seconds, or another cost, by bandwidth.
        theirs: likewise.

    >>> [round(x, 6) for x in break_even({1.0: 1.0, 100.0: 1.0}, {1.0: 10.0, 100.0: 0.1})]
    [10.0]
    """
    at = sorted(x for x in set(ours) & set(theirs) if isfinite(_ratio(ours[x], theirs[x])))
    ahead = [_ratio(ours[x], theirs[x]) for x in at]
    found = []
    for (x, d), (y, e) in pairwise(zip(at, ahead, strict=True)):
        if d * e < 0:
            found.append(x * (y / x) ** (d / (d - e)))
        elif e == 0 and d != 0:
            found.append(y)
    return found


def pareto(points: pd.DataFrame, x: str, y: str) -> pd.Series[bool]:
    """Whether no other point is as good in both and better in one.

    Args:
        points: rows; those with an unknown or endless figure are never on the front.
        x: a key of `MEASURES`.
        y: likewise.
    """
    costs = pd.DataFrame({n: points[n] * (-1 if MEASURES[n].most else 1) for n in (x, y)})
    whole = costs.replace([inf, -inf], nan).dropna().sort_values([x, y])
    on = pd.Series(False, index=points.index)
    best, at_x = inf, nan
    for index, a, b in whole.itertuples(name=None):
        # of points alike in both, all are on it
        if b < best or (b == best and a == at_x):
            on[index] = True
            best, at_x = b, a
    return on


def _ratio(ours: float, theirs: float) -> float:
    """The logarithm of how many times as much; nan where one is never or not known."""
    if not (0 < ours < inf and 0 < theirs < inf):
        return nan
    return log(ours / theirs)


def _known(numbers: Mapping[str, float]) -> bool:
    return all(isfinite(number) for number in numbers.values())
