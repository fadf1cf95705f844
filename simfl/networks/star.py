"""Star: each node behind an access link of its own, all joined by a core that never limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import networkx as nx
from pydantic import Field

from simfl.cost.wires import SERVER
from simfl.networks.base import (
    CORE,
    Ground,
    NetworkKind,
    NetworkOptions,
    join,
    known,
    no_server_keys,
)
from simfl.networks.choice import Access, LinkChoice
from simfl.registry import NETWORKS

# where neither the scenario nor a device model says
_ACCESS: Final = "lte"
_SERVER: Final = "ethernet_1g"


class StarOptions(NetworkOptions):
    """Who has which link.

    Attributes:
        access: of every client or peer; left out, what its device model names, else ``lte``
            (assumed: the phones of cross-device learning). A member of a population whose own
            goodput is known has that for both ways, above the preset's rates.
        access_of: the same by device group or node, above ``access``.
        server: the server's; left out, what its device model names, else ``ethernet_1g`` (assumed).
    """

    access: LinkChoice | None = None
    access_of: dict[str, LinkChoice] = Field(default_factory=dict)
    server: LinkChoice | None = None

    def suits(self, nodes: Mapping[str, str]) -> None:
        """Only who is there has a link."""
        known(self.access_of, nodes, "access_of")
        no_server_keys(self, ["server"], nodes)


@NETWORKS.register("star", options=StarOptions)
def star(options: StarOptions, ground: Ground) -> nx.DiGraph[str]:
    """A core, and each node joined to it.

    >>> options = StarOptions(access=LinkChoice(preset="cable"))
    >>> graph = star(options, Ground(nodes={"a": "a"}, seed=1))
    >>> [(u, v, data["link"].rate_bps) for u, v, data in graph.edges(data=True)]
    [('a', '(core)', 3000000.0), ('(core)', 'a', 25000000.0)]

    Raises:
        OptionError: a link that cannot be made.
    """
    graph: nx.DiGraph[str] = nx.DiGraph(notes=[])
    sorts: dict[str, Access] = {}
    said: dict[tuple[str, LinkChoice], Access] = {}
    for node, group in ground.nodes.items():
        key = _key(options, ground, node, group)
        if key not in sorts:
            access = _access(options, ground, key, group, graph.graph["notes"])
            # groups of one sort share its files
            sorts[key] = said.setdefault((access.option, access.choice), access)
        join(graph, node, CORE, *sorts[key].links(node, ground.seed))
    return graph


def _key(options: StarOptions, ground: Ground, node: str, group: str) -> str:
    """Nodes of one key have one sort of link: a group, but for who has one of its own."""
    said = group in options.access_of or options.access is not None
    own = node in options.access_of or (node in ground.links_bps and not said)
    return node if own else group


def _access(options: StarOptions, ground: Ground, key: str, group: str, notes: list[str]) -> Access:
    """The sort of link of a group, or of a node with one of its own; what is assumed is noted."""
    if key == SERVER:
        said, option, default = options.server, "server", _SERVER
    elif key in options.access_of:
        said, option, default = options.access_of[key], f"access_of.{key}", _ACCESS
    else:
        said, option, default = options.access, "access", _ACCESS
    if said is None:
        usual = ground.access.get(group)
        said = LinkChoice(preset=usual or default)
        why = "its device model's" if usual else "assumed, for nothing says"
        if key in ground.links_bps:
            said = _at(said, ground.links_bps[key], ground)
            why += "; rates are each member's own"
        note = f"{group if key in ground.links_bps else key} has {said.preset} ({why})"
        if note not in notes:
            notes.append(note)
    return Access(said, ground.folder, option)


def _at(said: LinkChoice, rate_bps: float, ground: Ground) -> LinkChoice:
    """A preset with a rate of one's own."""
    air = Access(said, ground.folder, "access").is_air
    return said.model_copy(update=dict.fromkeys(("phy",) if air else ("down", "up"), rate_bps))


_: NetworkKind = star
