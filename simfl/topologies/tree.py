"""Tree: every node talks to its parent and its children; the first one is the root.

Source: hierarchies of aggregators, as in Liu et al. 2020 (HierFAVG) and Bonawitz et al. 2019.
"""

from __future__ import annotations

from typing import Annotated

import networkx as nx
from pydantic import Field

from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology


class TreeOptions(Options):
    """How many children a node has, where there are enough."""

    children: Annotated[int, Field(ge=1)] = 2


@TOPOLOGIES.register("tree", options=TreeOptions)
def tree(options: TreeOptions, site: Site) -> nx.Graph[str]:
    """Level by level in the order of the nodes.

    >>> site = Site(nodes=dict.fromkeys("abcdef", "pi"), seed=0)
    >>> sorted(tree(TreeOptions(children=3), site).edges("b"))
    [('b', 'a'), ('b', 'e'), ('b', 'f')]
    """
    nodes = site.names
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(
        (nodes[(place - 1) // options.children], node) for place, node in enumerate(nodes) if place
    )
    return graph


_: Topology = tree
