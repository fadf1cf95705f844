"""Networks as resources: what a transfer between two places crosses, and what it waits for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from simfl.cost.sharing import Route

SERVER: Final = "server"


class NetworkModel(Protocol):
    """Capacities, and the route and fixed delay between two places (node names)."""

    @property
    def capacity(self) -> Mapping[Hashable, float]:
        """Capacity of each resource: bits per second, or 1 for a medium's airtime."""

    def route(self, source: str, target: str) -> Route | None:
        """What one flow crosses; None where there is no way."""

    def delay_s(self, source: str, target: str) -> float:
        """Fixed time before the first bit, during which nothing is held."""


@dataclass(frozen=True, kw_only=True)
class SharedMediumModel:
    """One half-duplex cell; the server is at the access point, on a wire that never limits.

    A station of rate r takes 1/r seconds of air per bit, sending or receiving; a transfer between
    two stations crosses the air twice.

    Attributes:
        rates_bps: goodput of each station when alone on the air.
        exchange_overhead_s: fixed time of one exchange (there and back); half for each transfer.
    """

    rates_bps: Mapping[str, float]
    exchange_overhead_s: float

    @property
    def capacity(self) -> Mapping[Hashable, float]:
        """All of the airtime."""
        return {"air": 1.0}

    def route(self, source: str, target: str) -> Route | None:
        """Airtime per bit of the stations at the two ends."""
        stations = [place for place in (source, target) if place != SERVER]
        if source == target or not all(place in self.rates_bps for place in stations):
            return None
        return {"air": sum(1 / self.rates_bps[place] for place in stations)}

    def delay_s(self, source: str, target: str) -> float:
        """Half of an exchange's fixed time."""
        return self.exchange_overhead_s / 2


@dataclass(frozen=True, kw_only=True)
class AccessLinksModel:
    """Each place behind one link up and one link down; the core between them never limits.

    Attributes:
        down_bps: capacity towards each place that has a limit.
        up_bps: capacity away from each place that has a limit.
        latency_s: one way, end to end.
        places: every place on this network.
    """

    down_bps: Mapping[str, float]
    up_bps: Mapping[str, float]
    latency_s: float
    places: frozenset[str]

    @property
    def capacity(self) -> Mapping[Hashable, float]:
        """Every link by direction and place."""
        up: dict[Hashable, float] = {("up", place): rate for place, rate in self.up_bps.items()}
        return up | {("down", place): rate for place, rate in self.down_bps.items()}

    def route(self, source: str, target: str) -> Route | None:
        """Up from the source, down to the target."""
        if source == target or not {source, target} <= self.places:
            return None
        links = {("up", source): self.up_bps, ("down", target): self.down_bps}
        return {link: 1.0 for link, limits in links.items() if link[1] in limits}

    def delay_s(self, source: str, target: str) -> float:
        """The latency of one direction."""
        return self.latency_s
