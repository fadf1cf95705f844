"""Small world: a ring whose nodes talk to the nearest ones, with some edges laid elsewhere.

Source: Watts and Strogatz 1998; conditioned on being connected.
"""

from __future__ import annotations

from typing import Annotated

import networkx as nx
from pydantic import Field

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options, Share
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology, connected, named


class SmallWorldOptions(Options):
    """How the ring is made, and how much of it is laid elsewhere.

    Attributes:
        nearest: neighbours of each node in the ring, an even number.
        rewired: share of the edges that lead to a node drawn at random instead.
    """

    nearest: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    rewired: Share = 0.1


@TOPOLOGIES.register("small_world", options=SmallWorldOptions)
def small_world(options: SmallWorldOptions, site: Site) -> nx.Graph[str]:
    """The first connected graph of a seeded sequence.

    Raises:
        OptionError: too few nodes, or none was connected.
    """
    nearest, size = options.nearest, len(site.nodes)
    if nearest >= size:
        raise OptionError("nearest", f"{nearest} neighbours among {size} nodes; give fewer")
    drawn = connected(
        lambda draw: nx.watts_strogatz_graph(
            size, nearest, options.rewired, seed=seed_of(site.seed, "small world", draw)
        )
    )
    if drawn is None:
        raise OptionError("rewired", f"joined {size} nodes in no draw; give less, or more nearest")
    return named(drawn, site.names)


_: Topology = small_world
