"""Wires: one-way links, the cells that stations share, and the paths that messages take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from simfl.cost.rate_trace import RateTrace

SERVER: Final = "server"
"""The name of the server's place."""

Discipline = Literal["drop_tail", "fq_codel"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A half-duplex radio medium: one station, or the access point, sends at a time.

    Attributes:
        station_bps: what each station sends and is sent at while it holds the air (its PHY rate);
            the access point has none of its own.
        access_s: air spent on each channel access, whatever is then sent (contention, preamble,
            acknowledgement).
        aggregation: packets that one channel access carries at most.
    """

    station_bps: Sequence[float]
    access_s: float = 0.0
    aggregation: int = 1


@dataclass(frozen=True, kw_only=True)
class Link:
    """One way from one place to the next; or a cell, which carries both ways.

    Attributes:
        rate_bps: bits per second on the wire, headers included; ignored where there is a cell.
        latency_s: propagation, one way.
        jitter_s: standard deviation of a transfer's extra delay (half-normal).
        loss: chance that a packet is lost, whatever the load.
        queue_bytes: what may wait in front of the link.
        discipline: how the queue is served.
        overhead_bytes: added to every IP packet by the layer below.
        trace: the rate over time, instead of ``rate_bps``.
        cell: the medium, if the link is one.
    """

    name: str
    rate_bps: float
    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    queue_bytes: float = float("inf")
    discipline: Discipline = "drop_tail"
    overhead_bytes: int = 14
    trace: RateTrace | None = None
    cell: Cell | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """A link by its index, and, where it is a cell, whose radio is used (-1: not a cell)."""

    link: int
    station: int = -1


@dataclass(frozen=True, slots=True)
class Path:
    """The hops from a source to a target, and those of what comes back (acknowledgements)."""

    out: tuple[Hop, ...]
    back: tuple[Hop, ...]


class Wires(Protocol):
    """Links by index, and the path between two places by their names."""

    @property
    def links(self) -> Sequence[Link]:
        """Every one-way link and cell."""

    def path(self, source: str, target: str) -> Path | None:
        """None where there is no way."""


def capacity_of(link: Link, now_s: float) -> float:
    """Bits per second of a wire at a time; of a cell all of its air: 1."""
    if link.cell is not None:
        return 1.0
    return link.trace.rate_at(now_s) if link.trace is not None else link.rate_bps


def offered_by(link: Link, until_s: float) -> float:
    """What a link could have carried since time 0: the integral of its capacity."""
    if link.cell is not None or link.trace is None:
        return capacity_of(link, 0.0) * until_s
    total, now_s = 0.0, 0.0
    while now_s < until_s:
        change_s = min(link.trace.next_change_s(now_s), until_s)
        total += link.trace.rate_at(now_s) * (change_s - now_s)
        now_s = change_s
    return total
