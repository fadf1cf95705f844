"""What a person sees of repeats: percentiles over the possible worlds."""

from __future__ import annotations

from math import isinf, isnan
from typing import Final

import pandas as pd
from rich.console import Console
from rich.table import Table

from simfl.record import Trace
from simfl.record.repeats import SHARES, Spread, lacking
from simfl.record.summary import Summary
from simfl.units import show_joules

_MEDIAN: Final = SHARES.index(0.5)
_SHORT: Final = {
    "time": "time",
    "target": "time to target",
    "joules": "energy",
    "target_joules": "energy to target",
}
_UNITS: Final = {"time_s": "s", "target_s": "s", "joules": "J", "target_joules": "J"}


def show_spreads(console: Console, trace: Trace, summary: Summary) -> None:
    """A table of what varies, and what must be known to read it; nothing without repeats."""
    missing, repeats = lacking(trace), trace.repeats
    if missing and trace.complete:
        console.print(
            f"  {len(missing)} repeats are missing; simfl resume {trace.path}", markup=False
        )
    if not len(repeats):
        return
    table = Table(box=None)
    table.add_column(f"in {len(repeats)} possible worlds", no_wrap=True)
    for head in ("median", *(f"{share:.0%}" for share in SHARES if share != SHARES[_MEDIAN])):
        table.add_column(head.replace("%", " %"), justify="right", no_wrap=True)
    for name, spread in summary.repeats.items():
        table.add_row(_named(name, summary), *_cells(name, spread))
    console.print(table)
    for note in _notes(trace, summary):
        console.print(f"  {note}", markup=False)


def folded(points: pd.DataFrame) -> pd.DataFrame:
    """The table of a sweep with one column for each figure's percentiles: the median, and most."""
    table = points.copy()
    for stem, unit in (("time", "_s"), ("target", "_s"), ("joules", ""), ("target_joules", "")):
        columns = [f"{stem}_p{share * 100:02.0f}{unit}" for share in SHARES]
        if not set(columns) <= set(table):
            continue
        low, *_, high = columns
        told = [
            _most(_UNITS[stem + unit], *values)
            for values in zip(table[columns[_MEDIAN]], table[low], table[high], strict=True)
        ]
        at = int(table.columns.get_indexer(pd.Index([low]))[0])
        table = table.drop(columns=columns)
        table.insert(at, f"{_SHORT[stem]}, median (5 to 95 %)", told)
    return table


def _most(unit: str, median: float, low: float, high: float) -> str:
    """A median, and between what nine worlds of ten lie."""
    if isnan(median):
        return "-"
    texts = ["never" if isinf(value) else f"{value:,.1f}" for value in (median, low, high)]
    return f"{texts[0]} ({texts[1]} to {texts[2]}) {unit}"


def _named(figure: str, summary: Summary) -> str:
    """As the report calls it."""
    accuracy = "" if summary.target is None else f" to accuracy {summary.target:g}"
    return {
        "time_s": "simulated time",
        "target_s": f"time{accuracy}",
        "joules": "energy",
        "target_joules": f"energy{accuracy}",
    }[figure]


def _cells(figure: str, spread: Spread) -> list[str]:
    """The median, then the other percentiles from the lowest."""
    texts = [
        "never"
        if isinf(value)
        else show_joules(value)
        if _UNITS[figure] == "J"
        else f"{value:,.1f} s"
        for value in spread.percentiles
    ]
    return [texts.pop(_MEDIAN), *texts]


def _notes(trace: Trace, summary: Summary) -> list[str]:
    """Worlds without a figure, and what their figures rest on."""
    repeats, notes = trace.repeats, []
    worlds = len(repeats)
    reached = summary.repeats.get("target_s")
    if reached and reached.never:
        notes.append(f"accuracy {summary.target:g} is not reached in {reached.never} of {worlds}")
    anew = repeats["anew"]
    if (anew > 0).any():
        notes.append(
            f"{int((anew > 0).sum())} of {worlds} need local updates that are not recorded, "
            f"{int(anew.min())} to {int(anew.max())} each; the accuracies behind them are unknown"
        )
    failed = repeats["status"].str.startswith("failed")
    if failed.any():
        first = repeats["status"][failed].iloc[0]
        notes.append(f"{int(failed.sum())} of {worlds} failed, the first: {first}")
    return notes
