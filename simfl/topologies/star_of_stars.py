"""Star of stars: the center talks to hubs, and each hub to leaves of its own.

Source: Liu et al. 2020 (HierFAVG): clients talk to edge servers, and these to a cloud server.

Hubs are nodes of the scenario, so that their devices and links are chosen like any other's.
"""

from __future__ import annotations

from typing import Annotated

import networkx as nx
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from simfl.errors import OptionError, did_you_mean
from simfl.options import Options, Positive
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology


class StarOfStarsOptions(Options):
    """Who is the center, and who are the hubs.

    Attributes:
        center: left out, the first node: the server where there is one, else the first peer.
        hubs: how many; the first nodes beside the center are hubs.
        hubs_are: instead, the device groups or nodes that are hubs.
    """

    center: str | None = None
    hubs: Positive | None = None
    hubs_are: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> StarOfStarsOptions:
        if (self.hubs is None) == (self.hubs_are is None):
            raise PydanticCustomError("hubs", "give either hubs or hubs_are, and not both")
        return self


@TOPOLOGIES.register("star_of_stars", options=StarOfStarsOptions)
def star_of_stars(options: StarOfStarsOptions, site: Site) -> nx.Graph[str]:
    """Leaves are dealt out to the hubs in turn, in the order of the nodes.

    >>> site = Site(nodes={"server": "server", **dict.fromkeys("abcde", "pi")}, seed=0)
    >>> graph = star_of_stars(StarOfStarsOptions(hubs=2), site)
    >>> sorted(graph["server"]), sorted(graph["a"]), sorted(graph["b"])
    (['a', 'b'], ['c', 'e', 'server'], ['d', 'server'])

    Raises:
        OptionError: no such center or hub, or a hub without a leaf.
    """
    center = options.center or site.names[0]
    if center not in site.nodes:
        raise OptionError("center", f"no node '{center}'; use '{site.names[0]}'")
    others = [node for node in site.nodes if node != center]
    if options.hubs_are is None:
        option, hubs = "hubs", others[: options.hubs]
    else:
        option, hubs = "hubs_are", _chosen(options.hubs_are, center, others, site)
    leaves = [node for node in others if node not in set(hubs)]
    if len(leaves) < len(hubs):
        message = f"{len(hubs)} hubs, and {len(leaves)} of {len(others)} nodes left for leaves"
        raise OptionError(option, f"{message}; give fewer hubs, or add devices")
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(site.nodes)
    graph.add_edges_from((center, hub) for hub in hubs)
    graph.add_edges_from((hubs[turn % len(hubs)], leaf) for turn, leaf in enumerate(leaves))
    return graph


def _chosen(names: list[str], center: str, others: list[str], site: Site) -> list[str]:
    """The hubs, in the order of the nodes, whatever the order in which they are named."""
    found: set[str] = set()
    for place, name in enumerate(names):
        option = f"hubs_are.{place}"
        chosen = [node for node in others if name in (node, site.nodes[node])]
        if name == center:
            raise OptionError(option, f"'{name}' is the center; remove it, or give another center")
        if not chosen:
            mend = did_you_mean(name, {*others[:20], *(site.nodes[node] for node in others)})
            raise OptionError(option, f"no device group or node '{name}'; {mend}")
        found.update(chosen)
    return [node for node in others if node in found]


_: Topology = star_of_stars
