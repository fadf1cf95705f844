"""Random geometric: nodes lie at random in a square, and are wired where they are near.

Source: Gilbert 1961, Random Plane Networks; here in a unit square, conditioned on being connected.
"""

from __future__ import annotations

from dataclasses import replace
from math import dist
from typing import Annotated, Final

import networkx as nx
from pydantic import Field

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.networks.base import Ground, NetworkKind, NetworkOptions
from simfl.networks.choice import Access, LinkChoice
from simfl.options import Duration
from simfl.registry import NETWORKS

_DRAWS: Final = 1000


class RandomGeometricOptions(NetworkOptions):
    """How near is near, and what joins the near.

    Attributes:
        radius: up to which two nodes are wired, where the square's side is 1.
        link: every wire; ``down`` towards the later node.
        across: latency of the square's side, added to the link's by distance.
    """

    radius: Annotated[float, Field(gt=0)]
    link: LinkChoice
    across: Duration = 0.0


@NETWORKS.register("random_geometric", options=RandomGeometricOptions)
def random_geometric(options: RandomGeometricOptions, ground: Ground) -> nx.DiGraph[str]:
    """The first connected graph of a seeded sequence.

    Raises:
        OptionError: none was connected, or a link cannot be made.
    """
    nodes, link = list(ground.nodes), Access(options.link, ground.folder, "link")
    for draw in range(_DRAWS):
        drawn = nx.random_geometric_graph(
            len(nodes), options.radius, seed=seed_of(ground.seed, "random geometric", draw) % 2**32
        )
        if nx.is_connected(drawn):
            break
    else:
        message = (
            f"{options.radius:g} joined {len(nodes)} nodes in none of {_DRAWS} draws; give more"
        )
        raise OptionError("radius", message)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    for a, b in sorted(drawn.edges):
        one, other = nodes[a], nodes[b]
        far = options.across * dist(drawn.nodes[a]["pos"], drawn.nodes[b]["pos"])
        down, up = (
            replace(way, latency_s=way.latency_s + far)
            for way in link.wire(f"{one} - {other}", ground.seed)
        )
        graph.add_edge(one, other, link=down)
        graph.add_edge(other, one, link=up)
    return graph


_: NetworkKind = random_geometric
