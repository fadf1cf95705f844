"""File: an overlay drawn elsewhere, as GraphML, JSON node-link, or a list of edges or neighbours.

Its nodes are those of the scenario, by their names. Who talks to whom has no figures: attributes of
edges are an error unless they are named, as a network's file may be an overlay's too.
"""

from __future__ import annotations

import networkx as nx
from pydantic import Field

from simfl.errors import OptionError, ScenarioError, did_you_mean
from simfl.graph_file import Format, RawGraph, read_graph
from simfl.options import Options
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, Topology, refuse_islands


class FileOptions(Options):
    """Which file.

    Attributes:
        path: relative to the scenario's folder.
        format: left out, by the file's ending.
        ignore: attributes of edges that mean something else.
    """

    path: str
    format: Format | None = None
    ignore: list[str] = Field(default_factory=list)


@TOPOLOGIES.register("file", options=FileOptions)
def file(options: FileOptions, site: Site) -> nx.Graph[str]:
    """The file's graph.

    Raises:
        OptionError: the file is wrong, has other nodes than the scenario, or an island.
    """
    path = site.folder / options.path
    try:
        raw = read_graph(path, options.format, directed=False)
        _refuse_figures(raw, options.ignore)
    except ScenarioError as error:
        raise OptionError("path", str(error)) from error
    if raw.directed:
        raise OptionError("path", f"{path}: a directed graph; save it as an undirected one")
    for name in raw.nodes:
        if name not in site.nodes:
            mend = did_you_mean(name, site.names[:20])
            raise OptionError("path", f"{path}: the scenario has no node '{name}'; {mend}")
    missing = sorted(site.nodes.keys() - set(raw.nodes), key=site.names.index)
    if missing:
        more = f" (and {len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        raise OptionError("path", f"{path}: no node '{missing[0]}'{more}; add it and its edges")
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(site.nodes)
    graph.add_edges_from((edge.source, edge.target) for edge in raw.edges)
    refuse_islands(graph, "path", f"{path}: ")
    return graph


def _refuse_figures(raw: RawGraph, ignored: list[str]) -> None:
    for edge in raw.edges:
        for key in edge.said:
            if key not in ignored:
                raise ScenarioError(
                    f"{edge.place}: an overlay's edge has no '{key}'; remove it, or pass over it: "
                    f"ignore: [{key}]"
                )


_: Topology = file
