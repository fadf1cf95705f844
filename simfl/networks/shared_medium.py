"""Shared medium: one half-duplex radio cell of known goodputs, ideal otherwise.

No header, no slow start, no loss: a station of rate r holds the air for bits / r, and active flows
get equal throughput, which is what 802.11's medium access does for saturated stations (Heusse et
al., Performance Anomaly of 802.11b, INFOCOM 2003). The server sits at the access point; what one
peer sends another goes through it, and crosses the air twice. PruneFL's Wi-Fi is fitted in these
terms (docs/cost_models.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import ClassVar

import networkx as nx
from pydantic import Field

from simfl.cost.framing import UNFRAMED, Framing
from simfl.cost.transport import FLUID, Transport
from simfl.cost.wires import SERVER, Cell, Link
from simfl.errors import OptionError
from simfl.networks.base import Ground, NetworkKind, join, known
from simfl.options import Duration, Options, Rate
from simfl.registry import NETWORKS


class SharedMediumOptions(Options):
    """Goodputs, and what an exchange takes beside them.

    Attributes:
        rate: goodput of any station alone on the air; left out, each device model's own radio.
        rates: the same by device group, above both.
        exchange_overhead: fixed time of one exchange (down and up), half charged to each transfer:
            framing, pickling, connection threads, averaging.
    """

    transport: ClassVar[Transport] = FLUID
    framing: ClassVar[Framing] = UNFRAMED

    rate: Rate | None = None
    rates: dict[str, Rate] = Field(default_factory=dict)
    exchange_overhead: Duration = 0.0

    def suits(self, nodes: Mapping[str, str]) -> None:
        """Only who is there has a rate."""
        known(self.rates, nodes, "rates")


@NETWORKS.register("shared_medium", options=SharedMediumOptions)
def shared_medium(options: SharedMediumOptions, ground: Ground) -> nx.DiGraph[str]:
    """Stations around an access point.

    Half of an exchange's overhead is the latency of two hops: from the server, a wire and the air;
    from a station to another, twice the air.

    Raises:
        OptionError: a station whose rate nobody says.
    """
    rates = []
    for node, group in ground.clients.items():
        rate = options.rates.get(node, options.rates.get(group, options.rate))
        rate = rate or ground.radios_bps.get(node, ground.radios_bps.get(group))
        if rate is None:
            message = (
                f"the device model of '{group}' has no radio rate of its own; give rate, or rates: "
                f"{{{group}: ...}}"
            )
            raise OptionError("rate", message)
        rates.append(rate)
    graph: nx.DiGraph[str] = nx.DiGraph()
    hop_s, point = options.exchange_overhead / 4, "(access point)"
    air = Link(
        name="air",
        rate_bps=max(rates),
        latency_s=hop_s,
        overhead_bytes=0,
        cell=Cell(station_bps=rates),
    )
    if ground.has_server:
        down, up = (
            Link(name=f"server {way}", rate_bps=inf, latency_s=hop_s, overhead_bytes=0)
            for way in ("down", "up")
        )
        join(graph, SERVER, point, down, up)
    for station, node in enumerate(ground.clients):
        graph.add_edge(node, point, link=air, station=station)
        graph.add_edge(point, node, link=air, station=station)
    return graph


_: NetworkKind = shared_medium
