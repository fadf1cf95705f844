"""Random graph: each pair of nodes talks with a given probability.

Source: Gilbert 1959, G(n, p); conditioned on being connected, as Pinto et al. 2025 (DFL-Trim) need
it for their 30 % graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options, Share
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import DRAWS, Topology, connected, named


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
    drawn = connected(
        lambda draw: nx.gnp_random_graph(
            len(nodes), options.probability, seed=seed_of(seed, "random graph", draw)
        )
    )
    if drawn is None:
        raise OptionError(
            "probability",
            f"{options.probability:g} joined {len(nodes)} nodes in none of "
            f"{DRAWS} draws; give more",
        )
    return named(drawn, nodes)


_: Topology = random_graph
