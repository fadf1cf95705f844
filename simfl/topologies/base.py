"""What a topology is: who talks to whom. Not who is wired to whom: that is the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import networkx as nx

from simfl.errors import OptionError

DRAWS: Final = 1000
"""Of a random graph, until one is connected."""
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class Site:
    """What an overlay is built on.

    Attributes:
        nodes: names and their device groups; the server first, where there is one.
        seed: the scenario's.
        folder: what the paths in a scenario are relative to.
    """

    nodes: Mapping[str, str]
    seed: int
    folder: Path = Path()

    @property
    def names(self) -> list[str]:
        """The nodes, in their order."""
        return list(self.nodes)


class Topology(Protocol):
    """Builds an overlay over node names; pure and seeded."""

    def __call__(self, options: Any, site: Site) -> nx.Graph[str]:
        """The overlay: its nodes are the site's, in their order.

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


def islands(graph: nx.Graph[str]) -> str:
    """Says which nodes are apart from the largest part; empty where an overlay is whole.

    >>> islands(nx.Graph([("a", "b"), ("c", "d"), ("b", "e"), ("f", "g")]))
    "not joined to 'a', 'b', 'e': 'c', 'd'; nor 'f', 'g'"
    """
    # of equal parts the one with the first node; the sort keeps the order of the nodes
    parts = sorted(nx.connected_components(graph), key=len, reverse=True)
    if len(parts) < 2:
        return ""
    most, *apart = [_shown([node for node in graph if node in part]) for part in parts]
    more = f"; nor {len(apart) - _SHOWN} more islands" if len(apart) > _SHOWN else ""
    return f"not joined to {most}: {'; nor '.join(apart[:_SHOWN])}{more}"


def refuse_islands(graph: nx.Graph[str], option: str = "name", place: str = "") -> None:
    """Refuse an overlay in which somebody cannot be reached.

    Args:
        graph: the overlay.
        option: the key that is to blame.
        place: where a person finds it, if elsewhere.

    Raises:
        OptionError: an island, with its nodes.
    """
    apart = islands(graph)
    if apart:
        raise OptionError(option, f"{place}{apart}; join them")


def _shown(names: Sequence[str]) -> str:
    """Some names, and how many there are more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
