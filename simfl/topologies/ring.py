"""Ring: every node talks to the one before it and the one after it.

Source: Lian et al. 2017 (D-PSGD), section 5; Pinto et al. 2025 (DFL-Trim).
"""

from __future__ import annotations

import networkx as nx

from simfl.errors import OptionError
from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology


class RingOptions(Options):
    """A ring has none."""


@TOPOLOGIES.register("ring", options=RingOptions)
def ring(options: RingOptions, site: Site) -> nx.Graph[str]:
    """One cycle through the nodes in their order.

    >>> sorted(ring(RingOptions(), Site(nodes=dict.fromkeys("abcd", "pi"), seed=0))["a"])
    ['b', 'd']

    Raises:
        OptionError: one node alone.
    """
    if len(site.nodes) < 2:
        raise OptionError("name", "a ring of one node; add devices")
    nodes = site.names
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(zip(nodes, [*nodes[1:], nodes[0]], strict=True))
    return graph


_: Topology = ring
