"""The tables in which TCP flows that follow their windows are kept."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# what a flow does
FREE: Final = 0
WAITING: Final = 1
SENDING: Final = 2
PAUSED: Final = 3
ARRIVING: Final = 4

CUBIC: Final = 0
RENO: Final = 1
BBR: Final = 2

# per segment: TCP's maximum with timestamps on a path of 1,500-byte packets
FLOW: Final = np.dtype(
    [
        ("key", "u8"),
        ("state", "i8"),
        ("control", "i8"),
        ("hops", "i8"),
        ("back_hops", "i8"),
        ("draws", "i8"),
        ("bottleneck", "i8"),
        ("first", "i8"),
        ("recovering", "i8"),
        ("born_s", "f8"),
        ("timer_s", "f8"),
        ("arrives_s", "f8"),
        ("rtt_s", "f8"),
        ("out_s", "f8"),
        ("loss", "f8"),
        ("burst", "f8"),
        ("limit", "f8"),
        ("left_bits", "f8"),
        ("round_bits", "f8"),
        ("round_s", "f8"),
        ("drain_s", "f8"),
        ("drained_bits", "f8"),
        ("rate_bps", "f8"),
        ("own_queue_s", "f8"),
        ("window", "f8"),
        ("threshold", "f8"),
        ("grown", "f8"),
        ("rtt_seen_s", "f8"),
        ("rtt_least_s", "f8"),
        ("window_max", "f8"),
        ("epoch_s", "f8"),
        ("origin", "f8"),
        ("k_s", "f8"),
        ("window_reno", "f8"),
        ("queued_since_s", "f8"),
        ("drops", "f8"),
    ]
)
"""A flow. Windows are in segments; ``limit``: the receiver's; ``burst``: segments that leave its
narrowest link together."""

LINK: Final = np.dtype(
    [
        ("capacity", "f8"),
        ("fair", "i8"),
        ("reserved", "f8"),
        ("left", "f8"),
        ("demand", "f8"),
        ("level", "f8"),
        ("least", "f8"),
        ("load", "f8"),
        ("carried", "f8"),
        ("used", "f8"),
    ]
)
"""A link: ``capacity`` in bit/s, or seconds of air a second (1); ``carried``: of
what flows sent so far; ``used``: the same with acknowledgements, the integral of ``load``."""

QUEUE: Final = np.dtype(
    [
        ("link", "i8"),
        ("radio", "i8"),
        ("cluster", "f8"),
        ("limit_bits", "f8"),
        ("backlog_bits", "f8"),
        ("flight", "f8"),
        ("grown", "f8"),
        ("weight", "f8"),
        ("served_bps", "f8"),
        ("delay_s", "f8"),
        ("shed", "f8"),
    ]
)
"""A queue in front of a link: a wire has one, a cell one a station and one at the access point."""


class Tables(NamedTuple):
    """Everything that flows and links are at one time.

    Attributes:
        active: rows of the flows in progress, in the order of their starts.
        flows: `FLOW` records.
        links: `LINK` records.
        queues: `QUEUE` records.
        used_links: rows of the links on the paths of active flows; ``used_queues`` likewise.
        out_link: by flow and hop, there; ``out_queue`` likewise.
        out_usage: what a payload bit takes of that link.
        back_link: by flow and hop, of the way back; ``back_queue`` and ``back_usage`` likewise,
            the last of a payload bit's acknowledgements.
        out_weight: by flow and hop, its share of that link, relative to other flows there.
    """

    active: NDArray[np.int64]
    flows: NDArray[Any]
    links: NDArray[Any]
    queues: NDArray[Any]
    used_links: NDArray[np.int64]
    used_queues: NDArray[np.int64]
    out_link: NDArray[np.int64]
    out_queue: NDArray[np.int64]
    out_usage: NDArray[np.float64]
    back_link: NDArray[np.int64]
    back_queue: NDArray[np.int64]
    back_usage: NDArray[np.float64]
    out_weight: NDArray[np.float64]
