"""Star: every client talks to the server."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from simfl.errors import OptionError
from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Topology


class StarOptions(Options):
    """Where the centre is."""

    center: str = "server"


@TOPOLOGIES.register("star", options=StarOptions)
def star(options: StarOptions, nodes: Sequence[str], *, seed: int) -> nx.Graph[str]:
    """One centre, joined to each other node.

    >>> sorted(star(StarOptions(), ["server", "a", "b"], seed=0).edges)
    [('server', 'a'), ('server', 'b')]

    Raises:
        OptionError: the centre is not a node.
    """
    if options.center not in nodes:
        raise OptionError("center", f"no node '{options.center}'; use '{nodes[0]}'")
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((options.center, node) for node in nodes if node != options.center)
    return graph


_: Topology = star
