"""The tables of a trace: names, columns, units.

One HDF5 file; each table is one dataset of records, so that
``pandas.DataFrame(h5py.File(path)["scores"][:])`` reads it. Text is fixed-width bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

KEY: Final = "S32"
VERSION: Final = 6
NONE: Final = -1
"""The number of a manifest that is not there: what was cut has no result."""
STATUS: Final = "S256"

COLUMNS: Final[dict[str, list[tuple[str, str]]]] = {
    # what each node computed; cut: it was given up at its end, and has no result
    "activities": [
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("node", "S"),
        ("verb", "S16"),
        ("round", "<i4"),
        ("key", KEY),
        ("manifest", "<i4"),
        ("cut", "u1"),
    ],
    # what was sent; cut: it never arrived, and nbytes are those that had left
    "transfers": [
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("source", "S"),
        ("target", "S"),
        ("round", "<i4"),
        ("key", KEY),
        ("manifest", "<i4"),
        ("nbytes", "<i8"),
        ("cut", "u1"),
    ],
    # when each round was over: ended by the server, or by every peer that was there; updates: how
    # many messages went into its models
    "rounds": [
        ("round", "<i4"),
        ("end_s", "<f8"),
        ("updates", "<i4"),
    ],
    # when a node was not there: it had left, or its battery was empty
    "away": [
        ("node", "S"),
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("why", "S16"),
    ],
    # what was measured in activities, such as a client's loss, by the key of the result
    "metrics": [
        ("key", KEY),
        ("metric", "S32"),
        ("value", "<f8"),
    ],
    # evaluations of the model that `node` holds (the server or a peer), and the bytes sent until
    # then: down towards the clients, up all others; joules of the clients or peers (nan: a device
    # without figures; a radio without figures adds nothing)
    "scores": [
        ("time_s", "<f8"),
        ("round", "<i4"),
        ("node", "S"),
        ("key", KEY),
        ("accuracy", "<f8"),
        ("loss", "<f8"),
        ("nonzero", "<i8"),
        ("down_bytes", "<i8"),
        ("up_bytes", "<i8"),
        ("joules", "<f8"),
    ],
    # the counts behind each `manifest` number, one row per tensor; known: the receiver knew already
    # which entries are stored
    "manifests": [
        ("manifest", "<i4"),
        ("tensor", "S64"),
        ("shape", "S32"),
        ("dtype", "S8"),
        ("size", "<i8"),
        ("nonzero", "<i8"),
        ("known", "u1"),
    ],
    # who took part
    "nodes": [
        ("node", "S"),
        ("index", "<i4"),
        ("role", "S8"),
        ("device", "S64"),
        ("samples", "<i8"),
    ],
    # what has crossed each link that limits, in bits on the wire, or, of a cell, seconds of air:
    # asked of it = carried + cut + waiting; used has what came back as well (acknowledgements);
    # busy is the share of what it could have carried
    "links": [
        ("link", "S128"),
        ("unit", "S4"),
        ("asked", "<f8"),
        ("carried", "<f8"),
        ("cut", "<f8"),
        ("waiting", "<f8"),
        ("used", "<f8"),
        ("busy", "<f8"),
    ],
    # what each node did by the end, cut or not: idle, compute and the time that it was away add up
    # to the run's length; transmit and receive are on top, and overlapping messages of one
    # direction count once. joules are seconds times the device's watts, nan where these are not
    # known
    "energy": [
        ("node", "S"),
        ("kind", "S8"),
        ("seconds", "<f8"),
        ("joules", "<f8"),
    ],
    # the same run in other possible worlds, one row per draw, as a what-if gives it; inf: the
    # accuracy was never reached, nan: not known
    "repeats": [
        ("draw", "<i4"),
        ("time_s", "<f8"),
        ("target_s", "<f8"),
        ("rounds", "<i4"),
        ("accuracy", "<f8"),
        ("down_bytes", "<i8"),
        ("up_bytes", "<i8"),
        ("joules", "<f8"),
        ("target_joules", "<f8"),
        ("anew", "<i4"),
        ("status", STATUS),
    ],
    # their evaluations by round; nan: the accuracy is not known
    "repeat_curves": [
        ("draw", "<i4"),
        ("round", "<i4"),
        ("time_s", "<f8"),
        ("accuracy", "<f8"),
        ("joules", "<f8"),
    ],
}
LATER: Final = ("repeat_curves",)
"""Tables that an early trace of this version may lack."""


def dtype_of(table: str, name_width: int) -> np.dtype[np.void]:
    """A table's record type; node names take ``name_width`` bytes."""
    return np.dtype([(n, f"S{name_width}" if t == "S" else t) for n, t in COLUMNS[table]])
