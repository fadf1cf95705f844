"""Tables of flows: arrays of records, in which rows stand for pointers, -1 for none."""

from __future__ import annotations

from typing import Final

import numpy as np

FLOW: Final = np.dtype(
    [
        ("number", np.int64),
        ("bits", np.float64),
        # what was left at since_s, when it began to run at rate_bps
        ("left_bits", np.float64),
        ("since_s", np.float64),
        ("rate_bps", np.float64),
        ("end_s", np.float64),
        ("weight", np.float64),
        ("cap_bps", np.float64),
        # rate per unit of weight, as shared last
        ("level", np.float64),
        # the link that rules it, or AT_CAP
        ("bottleneck", np.int64),
        # its first row in the table of crossings
        ("first", np.int64),
        # its place in the heap of ends
        ("place", np.int64),
        # KEPT, or while it is shared anew OPEN, then KNOWN
        ("state", np.int64),
    ]
)
LINK: Final = np.dtype(
    [
        ("capacity", np.float64),
        # carried by flows that are gone
        ("carried", np.float64),
        # the first row of its crossings
        ("first", np.int64),
        # whether it is on the list of changed links; of links that are shared anew
        ("changed", np.int64),
        ("looked_at", np.int64),
    ]
)
CROSSING: Final = np.dtype(
    [
        ("flow", np.int64),
        ("link", np.int64),
        ("usage", np.float64),
        # the flow's next; on the free list: the next free row
        ("along", np.int64),
        # the link's next and previous
        ("after", np.int64),
        ("before", np.int64),
    ]
)
COUNTS: Final = np.dtype(
    [
        ("flows", np.int64),
        ("crossings", np.int64),
        ("changed", np.int64),
        # the first row of the table of crossings that nobody has
        ("free", np.int64),
    ]
)
