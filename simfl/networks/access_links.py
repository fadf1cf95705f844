"""Access links: each node behind one link up and one link down, ideal otherwise.

No header, no slow start, no loss; for those see the kind star. The core never limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import ClassVar

import networkx as nx

from simfl.cost.framing import UNFRAMED, Framing
from simfl.cost.transport import FLUID, Transport
from simfl.cost.wires import SERVER, Link
from simfl.networks.base import CORE, Ground, NetworkKind, join, no_server_keys
from simfl.options import Duration, Options, Rate
from simfl.registry import NETWORKS


class AccessLinksOptions(Options):
    """One rate down and one up for all.

    Attributes:
        down: towards each client or peer.
        up: away from it.
        latency: end to end, one way.
        server_down: towards the server; left out, without limit.
        server_up: away from it; the same.
    """

    transport: ClassVar[Transport] = FLUID
    framing: ClassVar[Framing] = UNFRAMED

    down: Rate
    up: Rate
    latency: Duration = 0.0
    server_down: Rate | None = None
    server_up: Rate | None = None

    def suits(self, nodes: Mapping[str, str]) -> None:
        """Only a server that is there has a link."""
        no_server_keys(self, ["server_down", "server_up"], nodes)


@NETWORKS.register("access_links", options=AccessLinksOptions)
def access_links(options: AccessLinksOptions, ground: Ground) -> nx.DiGraph[str]:
    """Every node joined to a core; half of the latency on each side of it."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for node in ground.nodes:
        rates = options.down, options.up
        if node == SERVER:
            rates = options.server_down or inf, options.server_up or inf
        down, up = (
            Link(
                name=f"{node} {way}", rate_bps=rate, latency_s=options.latency / 2, overhead_bytes=0
            )
            for way, rate in zip(("down", "up"), rates, strict=True)
        )
        join(graph, node, CORE, down, up)
    return graph


_: NetworkKind = access_links
