"""Random graph: each pair of nodes talks with a given probability.

Source: Gilbert 1959, G(n, p); conditioned on being connected, as Pinto et al. 2025 (DFL-Trim) need
it for their 30 % graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import networkx as nx

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options, Share
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Topology

_DRAWS: Final = 1000


class RandomGraphOptions(Options):
    """How dense it is.

    Attributes:
        probability: of each edge; 0.3 is DFL-Trim's.
    """

    probability: Share = 0.3


@TOPOLOGIES.register("random_graph", options=RandomGraphOptions)
def random_graph(options: RandomGraphOptions, nodes: Sequence[str], *, seed: int) -> nx.Graph[str]:
    """The first connected graph of a seeded sequence.

    Raises:
        OptionError: none was connected.
    """
    for draw in range(_DRAWS):
        drawn = nx.gnp_random_graph(
            len(nodes), options.probability, seed=seed_of(seed, "random graph", draw)
        )
        if nx.is_connected(drawn):
            graph: nx.Graph[str] = nx.Graph()
            graph.add_nodes_from(nodes)
            graph.add_edges_from((nodes[int(a)], nodes[int(b)]) for a, b in drawn.edges)
            return graph
    raise OptionError(
        "probability",
        f"{options.probability:g} joined {len(nodes)} nodes in none of {_DRAWS} draws; give more",
    )


_: Topology = random_graph
