"""Repeats: a recorded run in other possible worlds, kept in its trace. Nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan, nan
from typing import Any, Final

from simfl.hosting import Host
from simfl.record import Trace
from simfl.record.repeats import lacking
from simfl.record.schema import COLUMNS
from simfl.record.writer import append_rows
from simfl.retiming import points_of, whatif
from simfl.simulation import claimed

_DRAW: Final = "platform.variation.draw"


def repeated(
    trace: Trace,
    host: Host,
    on_repeat: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Trace:
    """A complete run with all the repeats that its scenario asks for.

    Repeat n is what `simfl.retiming.whatif` says of ``platform.variation.draw=n``. Repeats that the
    trace has are not played again; all others are added at once, when the last has ended.

    Args:
        trace: a complete run.
        host: its ``workers`` share the repeats.
        on_repeat: called with each row.

    Raises:
        SimflError: see `simfl.retiming.whatif`; or the trace cannot be written.
    """
    draws = lacking(trace)
    if not draws:
        return trace
    points = points_of([f"{_DRAW}={','.join(map(str, draws))}"])
    found = whatif(trace, points, host=host, curves=True, on_point=on_repeat).to_dict("records")
    stands = set(trace.repeat_curves["draw"])
    curves = [
        (row[_DRAW], *evaluation)
        for row in found
        # a world that failed has none
        if row[_DRAW] not in stands and isinstance(row.get("curve"), list)
        for evaluation in row["curve"]
    ]
    with claimed(trace.path):
        rows = [_row(row) for row in found]
        append_rows(trace.path, {"repeats": rows, "repeat_curves": curves})
    return Trace(trace.path)


def _row(found: dict[Any, Any]) -> tuple[Any, ...]:
    """A what-if's row as one of the table ``repeats``."""
    status = str(found["status"]).encode()[:255].decode(errors="ignore")
    known = {**found, "draw": found[_DRAW], "status": status}
    row = []
    for name, kind in COLUMNS["repeats"]:
        value = known.get(name, nan)
        # a world that failed has no counts
        row.append(0 if kind.startswith("<i") and isnan(value) else value)
    return tuple(row)
