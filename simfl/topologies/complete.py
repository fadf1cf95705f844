"""Complete: everybody talks to everybody.

Source: Dai et al. 2022 (DisPFL), "fully-connected".
"""

from __future__ import annotations

import networkx as nx

from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology


class CompleteOptions(Options):
    """A complete graph has none."""


@TOPOLOGIES.register("complete", options=CompleteOptions)
def complete(options: CompleteOptions, site: Site) -> nx.Graph[str]:
    """Every pair of nodes.

    >>> site = Site(nodes=dict.fromkeys("abcd", "pi"), seed=0)
    >>> complete(CompleteOptions(), site).number_of_edges()
    6
    """
    nodes = site.names
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((a, b) for i, a in enumerate(nodes) for b in nodes[i + 1 :])
    return graph


_: Topology = complete
