"""Fat tree: a data centre's switches, of equal ports, with as much capacity up as down.

Source: Al-Fares, Loukissas and Vahdat, A Scalable, Commodity Data Center Network Architecture,
SIGCOMM 2008, section 3: k pods of k/2 edge and k/2 aggregation switches, (k/2)^2 core switches,
k^3/4 hosts.
"""

from __future__ import annotations

from typing import Annotated

import networkx as nx
from pydantic import Field

from simfl.errors import OptionError
from simfl.networks.base import Ground, NetworkKind, NetworkOptions, join
from simfl.networks.choice import Access, LinkChoice
from simfl.registry import NETWORKS


class FatTreeOptions(NetworkOptions):
    """How large it is.

    Attributes:
        ports: of each switch, even; left out, the fewest that hold all nodes.
        link: every wire; ``up`` is its rate towards the core.
        multipath: each pair of nodes takes one of the equal ways, by its hash and the seed (as
            ECMP does, RFC 2992, where the paper has tables); else all take the same.
    """

    ports: Annotated[int, Field(ge=2, multiple_of=2)] | None = None
    link: LinkChoice
    multipath: bool = True


@NETWORKS.register("fat_tree", options=FatTreeOptions)
def fat_tree(options: FatTreeOptions, ground: Ground) -> nx.DiGraph[str]:
    """Nodes fill the hosts' ports in their order.

    Raises:
        OptionError: more nodes than hosts, or a link that cannot be made.
    """
    nodes, ports = list(ground.nodes), options.ports or 2
    while options.ports is None and ports**3 // 4 < len(nodes):
        ports += 2
    if ports**3 // 4 < len(nodes):
        message = f"{ports} ports hold {ports**3 // 4} hosts of {len(nodes)}; give more"
        raise OptionError("ports", message)
    link, half, seed = Access(options.link, ground.folder, "link"), ports // 2, ground.seed
    graph: nx.DiGraph[str] = nx.DiGraph(multipath=options.multipath)
    for pod in range(ports):
        for i in range(half):
            above = f"(aggregation {pod}.{i})"
            for j in range(half):
                core, edge = f"(core {i}.{j})", f"(edge {pod}.{j})"
                join(graph, above, core, *link.wire(f"{above} - {core}", seed))
                join(graph, edge, above, *link.wire(f"{edge} - {above}", seed))
    for number, node in enumerate(nodes):
        edge = f"(edge {number // half // half}.{number // half % half})"
        join(graph, node, edge, *link.wire(node, seed))
    return graph


_: NetworkKind = fat_tree
