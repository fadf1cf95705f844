"""Flows in progress: a state machine that is handed the time.

It never reads a clock. What changes at one instant is shared once, when time moves on or somebody
asks what comes next, so that the order of simultaneous changes does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

# a flow is over when less than this is left: far below a bit, far above rounding
REST_BITS: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """What another engine needs to go on.

    Attributes:
        now_s: the instant.
        capacity: of each link.
        carried: by each link, so far.
        next_flow: the number of the next one.
        flows: by number: links, usage, bits, bits left, weight, cap in bits per second.
    """

    now_s: float
    capacity: Sequence[float]
    carried: Sequence[float]
    next_flow: int
    flows: Mapping[int, tuple[Sequence[int], Sequence[float], float, float, float, float]]


class Flows(Protocol):
    """Flows over links with capacities; links by index, times in absolute seconds that never fall.

    A flow that is over stays in progress until `ended` has told of it.
    """

    def start(
        self,
        now_s: float,
        links: Sequence[int],
        usage: Sequence[float],
        bits: float,
        *,
        weight: float = 1.0,
        cap_bps: float = inf,
    ) -> int:
        """Begin a flow and give its number; numbers rise.

        Args:
            now_s: simulated time.
            links: that it crosses, each once, in rising order; none only with a cap.
            usage: of each link's capacity, by one payload bit per second: headers make it more
                than 1 on a wire; on the air it is the airtime of a bit.
            bits: of payload, positive.
            weight: its share where flows compete, relative to theirs; positive.
            cap_bps: payload rate that it never exceeds.
        """

    def cut(self, now_s: float, flow: int) -> float:
        """End a flow in progress; its share goes back. Gives the bits that were left."""

    def change(
        self, now_s: float, flow: int, *, weight: float | None = None, cap_bps: float | None = None
    ) -> None:
        """From now on another weight or cap; None: as before."""

    def set_capacity(self, now_s: float, link: int, capacity: float) -> None:
        """From now on another capacity; 0 is an outage, in which flows stall."""

    def next_end_s(self) -> float:
        """When the next flow is over, if nothing changes; inf: never."""

    def ended(self, now_s: float) -> list[int]:
        """Flows that are over by now, in the order of their numbers; each is told once."""

    def rate_bps(self, flow: int) -> float:
        """Payload bits per second of a flow in progress."""

    def left_bits(self, now_s: float, flow: int) -> float:
        """Payload that a flow in progress has still to carry."""

    def carried(self, now_s: float) -> list[float]:
        """What each link has carried so far, in its capacity times seconds.

        That is the integral of its load: bits on the wire, headers included; on the air, seconds
        during which it was busy.
        """

    def __len__(self) -> int:
        """How many are in progress."""


def is_over(left_bits: float, rate_bps: float, now_s: float) -> bool:
    """Whether nothing is left, or so little that the clock cannot show the time it takes."""
    if left_bits <= REST_BITS:
        return True
    return rate_bps > 0 and now_s + left_bits / rate_bps <= now_s
