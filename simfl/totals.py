"""A run's tables as one row."""

from __future__ import annotations

from collections.abc import Collection
from math import inf, nan
from typing import Any, Final

import pandas as pd

from simfl.cost.wires import SERVER
from simfl.keys import Key
from simfl.record import TraceWriter
from simfl.record.curve import curve_of, row_reached
from simfl.record.schema import COLUMNS, KEY
from simfl.running import Parts
from simfl.scenario.override import Point as Point
from simfl.scenario.override import points_of as points_of
from simfl.work import Manifest

_KEY_AT: Final = {
    table: [name for name, _ in columns].index("key")
    for table, columns in COLUMNS.items()
    if ("key", KEY) in columns
}


class Totals:
    """The tables of a run as one row, and in a trace where there is one.

    Args:
        writer: the trace; None for none.
        guessed: keys of what is no result: the trace must not hand it on as one.
        above: the server, and who is between it and the clients.
    """

    def __init__(
        self, writer: TraceWriter | None, guessed: set[Key], above: Collection[str]
    ) -> None:
        self._writer, self._guessed, self._above = writer, guessed, above
        self._scores: list[tuple[Any, ...]] = []
        self._end_s = 0.0
        self._turns = self._down_bytes = self._up_bytes = 0
        self._rounds: list[tuple[Any, ...]] = []

    def append(self, table: str, row: tuple[Any, ...]) -> None:
        """Count a row in."""
        if table == "activities":
            self._end_s = row[1]
            self._turns += row[3] == "train"
        elif table == "transfers":
            self._end_s = row[1]
            if row[2] in self._above and row[3] != SERVER:
                self._down_bytes += row[7]
            else:
                self._up_bytes += row[7]
        elif table == "scores":
            self._scores.append(row)
        elif table == "rounds":
            self._rounds.append(row)
        if self._writer is not None:
            at = _KEY_AT.get(table)
            if at is not None and row[at] in self._guessed:
                row = (*row[:at], "", *row[at + 1 :])
            self._writer.append(table, row)

    def manifest(self, manifest: Manifest) -> int:
        """The number of a manifest, where there is a trace."""
        return 0 if self._writer is None else self._writer.manifest(manifest)

    def flush(self) -> None:
        """Write what waits, where there is a trace."""
        if self._writer is not None:
            self._writer.flush()

    def curve(self) -> pd.DataFrame:
        """Evaluations by round, as `simfl.record.Trace` has them."""
        scores, rounds = (
            pd.DataFrame(rows, columns=[name for name, _ in COLUMNS[table]])
            for table, rows in (("scores", self._scores), ("rounds", self._rounds))
        )
        return curve_of(scores, rounds)

    def row(self, parts: Parts, curve: pd.DataFrame, joules: float) -> dict[str, Any]:
        """What the table of points says.

        Args:
            parts: what ran.
            curve: its evaluations.
            joules: of the clients or peers.
        """
        stop = parts.scenario.stop
        at = None if stop.accuracy is None else row_reached(curve, stop.accuracy, stop.consecutive)
        target_s = inf if at is None else float(curve["time_s"].iloc[at])
        target_joules = inf if at is None else float(curve["joules"].iloc[at])
        if stop.accuracy is None or curve["accuracy"].iloc[:at].isna().any():
            # no target; or it may have been reached where the accuracy is not known
            target_s = target_joules = nan
        return {
            "time_s": self._end_s,
            "target_s": target_s,
            "rounds": sum(row[0] > 0 for row in self._rounds),
            "accuracy": float(curve["accuracy"].iloc[-1]) if len(curve) else nan,
            "down_bytes": self._down_bytes,
            "up_bytes": self._up_bytes,
            "joules": joules,
            "target_joules": target_joules,
            "turns": self._turns,
        }
