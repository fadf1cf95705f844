"""Star: every client talks to the server."""

from __future__ import annotations

import networkx as nx

from simfl.errors import OptionError
from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology


class StarOptions(Options):
    """Where the centre is."""

    center: str = "server"


@TOPOLOGIES.register("star", options=StarOptions)
def star(options: StarOptions, site: Site) -> nx.Graph[str]:
    """One centre, joined to each other node.

    >>> site = Site(nodes={"server": "server", "a": "pi", "b": "pi"}, seed=0)
    >>> sorted(star(StarOptions(), site).edges)
    [('server', 'a'), ('server', 'b')]

    Raises:
        OptionError: the centre is not a node.
    """
    nodes = site.names
    if options.center not in nodes:
        raise OptionError("center", f"no node '{options.center}'; use '{nodes[0]}'")
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((options.center, node) for node in nodes if node != options.center)
    return graph


_: Topology = star
