"""Points of a study on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from math import isinf, isnan
from typing import Any, Final

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simfl.units import show_bytes, show_joules, show_seconds

_WIDEST: Final = 10_000
_ENERGIES: Final = ("joules", "target_joules")
_HEADS: Final = {
    "time_s": "simulated",
    "target_s": "to target",
    "down_bytes": "down",
    "up_bytes": "up",
    "joules": "energy",
    "target_joules": "to target",
    "target_bytes": "to target",
    "anew": "not recorded",
}


class Points:
    """The progress of a study: a line for each point, as it ends.

    Args:
        console: where it goes.
        quiet: say nothing.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet, self._ended = console, quiet, 0

    def show(self, row: dict[str, Any]) -> None:
        """A point has ended."""
        self._ended += 1
        if self._quiet:
            return
        changed = _changed(row)
        took = f"{show_seconds(row['time_s'])} simulated" if "time_s" in row else row["status"]
        self._console.print(f"{self._ended}. {changed}: {took}", markup=False)


def show_points(console: Console, points: pd.DataFrame, *, trained: bool) -> None:
    """The table of a study; what would have to be trained is said below it."""
    table = Table(box=None)
    # energies that are not known at any point are left out
    energies = [c for c in points.columns if c in _ENERGIES and points[c].isna().all()]
    columns = [c for c in points.columns if c not in ("first_anew", "status", *energies)]
    for column in columns:
        table.add_column(_HEADS.get(column, column), justify="right", no_wrap=True)
    table.add_column("ended by", no_wrap=True)
    for row in points.to_dict("records"):
        cells = [_cell(name, row[name]) for name in columns]
        table.add_row(*map(Text, cells), Text(str(row["status"]).removeprefix("complete: ")))
    # whole, also where the terminal is narrow: figures that are cut are none
    table.width = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
    console.print(table, crop=False)
    # of points that failed nothing is known
    anew = points.iloc[:0]
    if "anew" in points:
        anew = points[points["first_anew"].fillna("") != ""]
    if len(anew) and trained:
        console.print(f"  {int(anew['anew'].sum()):,} turns were not recorded, and were trained")
    elif len(anew):
        turns = int(anew["anew"].sum())
        # a turn says more than an evaluation
        first = anew.sort_values("anew", key=lambda turns: turns == 0, kind="stable").iloc[0]
        what = f"{turns:,} turns are not recorded, first" if turns else "not recorded:"
        console.print(
            f"  [yellow]{len(anew)} of {len(points)} points compute something else[/yellow]: "
            f"{what} {first['first_anew']}; their accuracies are unknown; compute them with --train"
        )


def show_failed(console: Console, failed: pd.DataFrame) -> None:
    """The points of a study that failed, a line each with its reason."""
    if not len(failed):
        return
    console.print("failed:", highlight=False)
    for row in failed.to_dict("records"):
        reason = str(row["status"]).removeprefix("failed: ")
        console.print(f"  {_changed(row)}: {reason}", markup=False, highlight=False)


def changed_keys(columns: Iterable[Any]) -> list[str]:
    """What the points of a study change: the columns before the figures."""
    return list(takewhile(lambda key: key not in ("time_s", "status"), columns))


def _changed(row: Mapping[Any, Any]) -> str:
    return ", ".join(f"{key}={_cell(key, row[key])}" for key in changed_keys(row))


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and isnan(value):
        return "-"
    if column.startswith(("time_", "target_")) and column.endswith("_s"):
        return "never" if isinf(value) else f"{value:,.1f} s"
    if column in _ENERGIES:
        return "never" if isinf(value) else show_joules(value)
    if column.endswith("_bytes"):
        return show_bytes(value)
    if column == "accuracy":
        return f"{value:.4f}"
    whole = column in ("rounds", "turns", "anew", "never")
    return f"{value:,.0f}" if whole else str(value)
