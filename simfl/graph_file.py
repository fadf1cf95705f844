"""Graphs from files: GraphML, JSON node-link, lists of edges and lists of neighbours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree.ElementTree import ParseError

import networkx as nx

from simfl.errors import ScenarioError
from simfl.strict import parse_yaml

Format = Literal["graphml", "json", "edge_list", "adjacency_list"]
_ENDINGS: Final[dict[str, Format]] = {
    ".graphml": "graphml",
    ".xml": "graphml",
    ".json": "json",
    ".edgelist": "edge_list",
    ".edges": "edge_list",
    ".txt": "edge_list",
    ".adjlist": "adjacency_list",
    ".adj": "adjacency_list",
}


@dataclass(frozen=True)
class Edge:
    """An edge as a file has it.

    Attributes:
        place: where a person finds it.
        said: its attributes.
    """

    place: str
    source: str
    target: str
    said: dict[str, Any]


@dataclass(frozen=True)
class RawGraph:
    """Names of nodes and edges; ``directed``: an edge is one way."""

    nodes: list[str]
    edges: list[Edge]
    directed: bool


def read_graph(path: Path, format: Format | None, directed: bool) -> RawGraph:
    """Read a graph.

    Args:
        path: the file.
        format: None: by its ending.
        directed: whether the edges of a list are one way; the other formats say so themselves.

    Raises:
        ScenarioError: what is wrong, with the file and the line or edge.
    """
    format = format or _ENDINGS.get(path.suffix.lower())
    if format is None:
        raise ScenarioError(
            f"{path}: unknown graph format '{path.suffix}'; say format: graphml, json, edge_list "
            "or adjacency_list"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        mend = "give a GraphML, JSON, edge list or adjacency list file"
        raise ScenarioError(f"{path}: {reason}; {mend}") from error
    if format == "graphml":
        graph = _graphml(path)
    elif format == "json":
        graph = _node_link(path, text)
    elif format == "adjacency_list":
        graph = _adjacency_list(path, text, directed)
    else:
        edges = list(_edge_list(path, text))
        names = dict.fromkeys(name for edge in edges for name in (edge.source, edge.target))
        graph = RawGraph(list(names), edges, directed)
    if not graph.edges:
        raise ScenarioError(f"{path}: no edges; give at least one")
    seen: set[tuple[str, str]] = set()
    for edge in graph.edges:
        if edge.source == edge.target:
            raise ScenarioError(f"{edge.place}: joins '{edge.source}' to itself; remove it")
        ways = [(edge.source, edge.target)]
        ways += [] if graph.directed else [(edge.target, edge.source)]
        if not seen.isdisjoint(ways):
            raise ScenarioError(f"{edge.place}: stands twice; remove one of the two")
        seen.update(ways)
    return graph


def _graphml(path: Path) -> RawGraph:
    try:
        graph = nx.read_graphml(path)
    except ParseError as error:
        line = error.position[0]
        raise ScenarioError(f"{path}:{line}: not XML: {error.msg}; is the file cut off?") from error
    except (nx.NetworkXException, KeyError, ValueError) as error:
        raise ScenarioError(f"{path}: not GraphML: {' '.join(str(error).split())}") from error
    edges = [
        Edge(
            f"{path}: edge {source} - {target}",
            source,
            target,
            {key: value for key, value in data.items() if key != "id"},
        )
        for source, target, data in graph.edges(data=True)
    ]
    return RawGraph(list(graph.nodes), edges, graph.is_directed())


def _node_link(path: Path, text: str) -> RawGraph:
    """The form that D3 and networkx write: ``{"nodes": [{"id"}], "links": [{"source", ...}]}``."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{path}:{error.lineno}: not JSON: {error.msg}; is the file cut off?"
        raise ScenarioError(message) from error
    key = "edges" if isinstance(data, dict) and "edges" in data else "links"
    links = data.get(key) if isinstance(data, dict) else None
    nodes = data.get("nodes") if isinstance(data, dict) else None
    if not isinstance(links, list) or not isinstance(nodes, list):
        raise ScenarioError(f'{path}: not node-link; give {{"nodes": [...], "links": [...]}}')
    names = []
    for number, node in enumerate(nodes):
        if not isinstance(node, dict) or "id" not in node:
            raise ScenarioError(f"{path}: nodes[{number}] has no id; add one")
        names.append(str(node["id"]))
    edges = []
    for number, link in enumerate(links):
        place = f"{path}: {key}[{number}]"
        if not isinstance(link, dict) or not {"source", "target"} <= set(link):
            raise ScenarioError(f"{place}: has no source and target; add them")
        said = {k: v for k, v in link.items() if k not in ("source", "target", "key")}
        ends = str(link["source"]), str(link["target"])
        for name in ends:
            if name not in names:
                raise ScenarioError(f"{place}: no node '{name}' in nodes; add it")
        edges.append(Edge(place, *ends, said))
    return RawGraph(names, edges, bool(data.get("directed", False)))


def _edge_list(path: Path, text: str) -> Iterator[Edge]:
    """``a b {rate: 20 Mbit/s, latency: 5 ms}`` a line."""
    for place, line in _lines(path, text):
        fields = line.split(maxsplit=2)
        if len(fields) < 2:
            raise ScenarioError(f"{place}: one name; give two and {{rate: ...}}")
        try:
            said = parse_yaml(fields[2], place)[0] if len(fields) == 3 else {}
        except ScenarioError:
            said = None
        if not isinstance(said, dict):
            raise ScenarioError(
                f"{place}: '{fields[2]}' is no mapping; write e.g. {{rate: 20 Mbit/s}}"
            )
        yield Edge(place, fields[0], fields[1], said)


def _adjacency_list(path: Path, text: str, directed: bool) -> RawGraph:
    """A node and its neighbours a line; both ends of an edge may tell it, unless it is one way."""
    names: dict[str, None] = {}
    edges: dict[tuple[str, str], Edge] = {}
    for place, line in _lines(path, text):
        source, *targets = line.split()
        names |= dict.fromkeys([source, *targets])
        for target in targets:
            if (source, target) in edges:
                raise ScenarioError(f"{place}: '{target}' stands twice; remove one of the two")
            if directed or source == target or (target, source) not in edges:
                edges[source, target] = Edge(place, source, target, {})
    return RawGraph(list(names), list(edges.values()), directed)


def _lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Lines that say something, with their places."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path}:{number}", line
