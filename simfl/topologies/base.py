"""What a topology is: who talks to whom. Not who is wired to whom: that is the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import networkx as nx

DRAWS: Final = 1000
"""Of a random graph, until one is connected."""


class Topology(Protocol):
    """Builds an overlay over node names; pure and seeded."""

    def __call__(self, options: Any, nodes: Sequence[str], *, seed: int) -> nx.Graph[str]:
        """The overlay.

        Args:
            options: the scenario's options.
            nodes: names; the server first, where there is one.
            seed: the scenario's seed.

        Raises:
            OptionError: no such overlay over these nodes.
        """


def connected(draw: Callable[[int], nx.Graph[int]]) -> nx.Graph[int] | None:
    """The first connected graph of a sequence; None where there is none among `DRAWS`."""
    graphs = map(draw, range(DRAWS))
    return next((graph for graph in graphs if nx.is_connected(graph)), None)


def named(drawn: nx.Graph[int], nodes: Sequence[str]) -> nx.Graph[str]:
    """A graph over numbers as one over nodes, in their order."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((nodes[a], nodes[b]) for a, b in drawn.edges)
    return graph
