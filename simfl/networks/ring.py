"""Ring: every node is wired to the one before it and the one after it, and passes on what comes."""

from __future__ import annotations

import networkx as nx

from simfl.errors import OptionError
from simfl.networks.base import Ground, NetworkKind, NetworkOptions
from simfl.networks.choice import Access, LinkChoice
from simfl.registry import NETWORKS


class RingOptions(NetworkOptions):
    """The wire between neighbours.

    Attributes:
        link: ``down`` is its rate towards the later node, ``up`` towards the earlier one.
    """

    link: LinkChoice


@NETWORKS.register("ring", options=RingOptions)
def ring(options: RingOptions, ground: Ground) -> nx.DiGraph[str]:
    """One cycle of duplex wires through the nodes in their order.

    Raises:
        OptionError: one node alone, or a link that cannot be made.
    """
    nodes = list(ground.nodes)
    if len(nodes) < 2:
        raise OptionError("kind", "a ring of one node; add devices")
    link = Access(options.link, ground.folder, "link")
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    # two nodes have one wire between them
    ends = zip(nodes, [*nodes[1:], *nodes[:1]], strict=True) if len(nodes) > 2 else [nodes]
    for one, other in ends:
        down, up = link.wire(f"{one} - {other}", ground.seed)
        graph.add_edge(one, other, link=down)
        graph.add_edge(other, one, link=up)
    return graph


_: NetworkKind = ring
