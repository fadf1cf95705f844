"""Complete: everybody talks to everybody.

Source: Dai et al. 2022 (DisPFL), "fully-connected".
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Topology


class CompleteOptions(Options):
    """A complete graph has none."""


@TOPOLOGIES.register("complete", options=CompleteOptions)
def complete(options: CompleteOptions, nodes: Sequence[str], *, seed: int) -> nx.Graph[str]:
    """Every pair of nodes.

    >>> complete(CompleteOptions(), ["a", "b", "c", "d"], seed=0).number_of_edges()
    6
    """
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((a, b) for i, a in enumerate(nodes) for b in nodes[i + 1 :])
    return graph


_: Topology = complete
