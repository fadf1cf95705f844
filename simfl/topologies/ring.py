"""Ring: every node talks to the one before it and the one after it.

Source: Lian et al. 2017 (D-PSGD), section 5; Pinto et al. 2025 (DFL-Trim).
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from simfl.errors import OptionError
from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Topology


class RingOptions(Options):
    """A ring has none."""


@TOPOLOGIES.register("ring", options=RingOptions)
def ring(options: RingOptions, nodes: Sequence[str], *, seed: int) -> nx.Graph[str]:
    """One cycle through the nodes in their order.

    >>> sorted(ring(RingOptions(), ["a", "b", "c", "d"], seed=0)["a"])
    ['b', 'd']

    Raises:
        OptionError: one node alone.
    """
    if len(nodes) < 2:
        raise OptionError("name", "a ring of one node; add devices")
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(zip(nodes, [*nodes[1:], nodes[0]], strict=True))
    return graph


_: Topology = ring
