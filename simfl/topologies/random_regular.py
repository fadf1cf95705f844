"""Random regular graph: every node talks to as many others, drawn at random.

Source: Steger and Wormald 1999, which networkx has; conditioned on being connected.
"""

from __future__ import annotations

from typing import Annotated

import networkx as nx
from pydantic import Field

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology, connected, named


class RandomRegularOptions(Options):
    """How many neighbours each has."""

    degree: Annotated[int, Field(ge=2)] = 4


@TOPOLOGIES.register("random_regular", options=RandomRegularOptions)
def random_regular(options: RandomRegularOptions, site: Site) -> nx.Graph[str]:
    """The first connected graph of a seeded sequence.

    Raises:
        OptionError: no such graph over these nodes.
    """
    degree, size = options.degree, len(site.nodes)
    if degree >= size or degree * size % 2:
        raise OptionError(
            "degree",
            f"{size} nodes cannot have {degree} neighbours each: fewer than there are others, and "
            "of an odd number of nodes an even one; give another",
        )
    drawn = connected(
        lambda draw: nx.random_regular_graph(degree, size, seed=seed_of(site.seed, "regular", draw))
    )
    if drawn is None:
        raise OptionError("degree", f"{degree} joined {size} nodes in no draw; give more")
    return named(drawn, site.names)


_: Topology = random_regular
