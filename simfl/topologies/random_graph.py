"""Random graph: each pair of nodes talks with a given probability.

Source: Gilbert 1959, G(n, p); conditioned on being connected, as Pinto et al. 2025 (DFL-Trim) need
it for their 30 % graph.

Either way to have no islands departs from G(n, p): ``drawn`` favours graphs with more edges, and
``repaired`` adds one edge for each island but one.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import networkx as nx

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options, Share
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import DRAWS, Site, Topology, connected, named


class RandomGraphOptions(Options):
    """How dense it is, and what becomes of islands.

    Attributes:
        probability: of each edge; 0.3 is DFL-Trim's.
        joined: ``drawn``: the first connected graph of a sequence; ``repaired``: the first graph of
            it, whose islands are joined by the fewest edges.
    """

    probability: Share = 0.3
    joined: Literal["drawn", "repaired"] = "drawn"


@TOPOLOGIES.register("random_graph", options=RandomGraphOptions)
def random_graph(options: RandomGraphOptions, site: Site) -> nx.Graph[str]:
    """A connected graph of a seeded sequence.

    Raises:
        OptionError: none was connected.
    """
    size = len(site.nodes)

    def draw(number: int) -> nx.Graph[int]:
        seed = seed_of(site.seed, "random graph", number)
        graph: nx.Graph[int] = nx.gnp_random_graph(size, options.probability, seed=seed)
        return graph

    if options.joined == "repaired":
        return named(_repaired(draw(0), site.seed), site.names)
    drawn = connected(draw)
    if drawn is None:
        raise OptionError(
            "probability",
            f"{options.probability:g} joined {size} nodes in none of {DRAWS} draws; give more, or "
            "joined: repaired",
        )
    return named(drawn, site.names)


def _repaired(graph: nx.Graph[int], seed: int) -> nx.Graph[int]:
    """Each island in turn is joined to those before it, by an edge between two nodes drawn."""
    stream = Random(seed_of(seed, "random graph", "repair"))
    whole, *islands = [sorted(part) for part in nx.connected_components(graph)]
    for island in islands:
        graph.add_edge(stream.choice(whole), stream.choice(island))
        whole += island
    return graph


_: Topology = random_graph
