"""Traces of the version before: what they do not tell was not there to be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from simfl.record.schema import COLUMNS, dtype_of

Records: TypeAlias = np.ndarray[Any, np.dtype[np.void]]
PREVIOUS: Final = 5
"""Nobody came or went in it: nothing was cut, and a round was over with its last holder."""


def upgraded(tables: Mapping[str, Records]) -> dict[str, Records]:
    """The tables of a trace of version `PREVIOUS`, as of this one."""
    width = tables["nodes"].dtype["node"].itemsize
    found = {}
    for table in COLUMNS:
        kind = dtype_of(table, width)
        old = tables.get(table)
        found[table] = np.zeros(0 if old is None else len(old), kind)
        if old is not None:
            for column in old.dtype.names or ():
                found[table][column] = old[column]
    ends = _ends(tables)
    found["rounds"] = np.zeros(len(ends), dtype_of("rounds", width))
    for row, (number, (end_s, updates)) in zip(found["rounds"], sorted(ends.items()), strict=True):
        row["round"], row["end_s"], row["updates"] = number, end_s, updates
    return found


def _ends(tables: Mapping[str, Records]) -> dict[int, tuple[float, int]]:
    """When each round was over, and the messages that were sent in it to whom they concern."""
    peers = int((tables["nodes"]["role"] == b"peer").sum())
    activities, transfers = tables["activities"], tables["transfers"]
    first = activities["end_s"][activities["verb"] == b"initial"]
    ends = {0: (float(first.max()), 0)} if len(first) >= max(1, peers) else {}
    made = activities[activities["verb"] == (b"mix" if peers else b"aggregate")]
    up = transfers if peers else transfers[transfers["target"] == b"server"]
    updates = dict(zip(*np.unique(up["round"], return_counts=True), strict=True))
    for number, count in zip(*np.unique(made["round"], return_counts=True), strict=True):
        if count == max(1, peers):
            end_s = float(made["end_s"][made["round"] == number].max())
            ends[int(number)] = end_s, int(updates.get(number, 0))
    return ends
