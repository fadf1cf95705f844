"""Torus: a grid whose ends are joined; every node talks to the four beside it.

Source: Lian et al. 2018 (AD-PSGD) and Lu and De Sa 2021 compare decentralised training on it.
"""

from __future__ import annotations

import networkx as nx

from simfl.errors import OptionError
from simfl.options import Options, Positive
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology


class TorusOptions(Options):
    """How many rows; left out, the most square torus that there is."""

    rows: Positive | None = None


@TOPOLOGIES.register("torus", options=TorusOptions)
def torus(options: TorusOptions, site: Site) -> nx.Graph[str]:
    """Row by row in the order of the nodes; of one row it is a ring.

    >>> site = Site(nodes=dict.fromkeys("abcdefghi", "pi"), seed=0)
    >>> sorted(torus(TorusOptions(), site)["a"])
    ['b', 'c', 'd', 'g']

    Raises:
        OptionError: rows of unequal length.
    """
    nodes = site.names
    size = len(nodes)
    rows = options.rows or max(n for n in range(1, int(size**0.5) + 1) if size % n == 0)
    if size % rows:
        raise OptionError("rows", f"{size} nodes do not fill {rows} rows; give a divisor")
    columns = size // rows
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    for place, node in enumerate(nodes):
        row, column = divmod(place, columns)
        beside = row * columns + (column + 1) % columns
        below = (row + 1) % rows * columns + column
        # of a row or column of one, the neighbour is the node itself
        graph.add_edges_from((node, nodes[other]) for other in (beside, below) if other != place)
    return graph


_: Topology = torus
