"""File: a network drawn elsewhere, as GraphML, JSON node-link, or a list of edges or neighbours.

Each edge may have the attributes ``preset``, ``rate`` (or ``rate_bps``, a number), ``latency`` (or
``latency_s``), ``jitter``, ``loss``, ``queue``, ``discipline``, ``overhead_bytes`` and ``trace``;
what it does not say is that of ``link``. An undirected edge has them both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Final

import networkx as nx
from pydantic import Field

from simfl.cost.wires import Discipline, Link
from simfl.errors import NetworkError, OptionError, ScenarioError, did_you_mean
from simfl.graph_file import Edge, Format, read_graph
from simfl.networks.base import Ground, NetworkKind, NetworkOptions, join
from simfl.networks.choice import Access, LinkChoice, Loss, TraceChoice
from simfl.options import Duration, Options, Rate, Size
from simfl.registry import NETWORKS
from simfl.strict import validate


class EdgeOptions(Options):
    """What an edge says; see the module."""

    preset: str | None = None
    rate: Rate | None = None
    trace: TraceChoice | None = None
    latency: Duration | None = None
    jitter: Duration | None = None
    loss: Loss | None = None
    queue: Size | None = None
    discipline: Discipline | None = None
    overhead_bytes: Annotated[int, Field(ge=0)] | None = None


# numbers, as programs write them: whose unit their name tells
_UNITS: Final = {"rate_bps": ("rate", "bit/s"), "latency_s": ("latency", "s")}


class FileOptions(NetworkOptions):
    """Which file, and who is where in it.

    Attributes:
        file: relative to the scenario's folder.
        format: left out, by the file's ending.
        directed: whether the edges of a list are one way.
        link: what an edge does not say.
        at: the file's node at which a node of the scenario is; left out, that of its name.
        ignore: attributes of edges that mean something else.
        multipath: of equal ways each pair takes one by its hash, instead of all the same.
    """

    file: str
    format: Format | None = None
    directed: bool = False
    link: LinkChoice | None = None
    at: dict[str, str] = Field(default_factory=dict)
    ignore: list[str] = Field(default_factory=list)
    multipath: bool = False

    def suits(self, nodes: Mapping[str, str]) -> None:
        """Only who is there is somewhere."""
        for node in self.at:
            if node not in nodes:
                mend = did_you_mean(node, list(nodes)[:20])
                raise OptionError(f"at.{node}", f"the scenario has no node '{node}'; {mend}")


@NETWORKS.register("file", options=FileOptions)
def file(options: FileOptions, ground: Ground) -> nx.DiGraph[str]:
    """The file's graph, and the scenario's nodes in it.

    Raises:
        OptionError: the file is wrong, or lacks a node.
    """
    path = ground.folder / options.file
    try:
        raw = read_graph(path, options.format, options.directed)
        graph: nx.DiGraph[str] = nx.DiGraph(
            multipath=options.multipath, option="file", where=f" in {path}"
        )
        graph.add_nodes_from(raw.nodes)
        read = _Reader(options, ground)
        for edge in raw.edges:
            name = f"{edge.source} -> {edge.target}"
            if raw.directed:
                graph.add_edge(edge.source, edge.target, link=read.link(edge, name))
            else:
                join(graph, edge.target, edge.source, *read.pair(edge))
    except (NetworkError, ScenarioError) as error:
        raise OptionError("file", str(error)) from error
    for node in ground.nodes:
        place = options.at.get(node, node)
        if place not in raw.nodes:
            mend = did_you_mean(place, raw.nodes[:20])
            raise OptionError(
                "file",
                f"no node '{place}' in {path}; {mend}, or say where it is: at: {{{node}: ...}}",
            )
        if place != node:
            free = [
                Link(name=f"{node} {way}", rate_bps=inf, overhead_bytes=0) for way in ("down", "up")
            ]
            join(graph, node, place, *free)
    return graph


@dataclass(frozen=True)
class _Reader:
    """Makes links of what edges say."""

    options: FileOptions
    ground: Ground

    def pair(self, edge: Edge) -> tuple[Link, Link]:
        """Both ways of an edge, towards the target first."""
        access, name = self._access(edge), f"{edge.source} - {edge.target}"
        try:
            if access.is_air:
                return access.links(name, self.ground.seed)
            down, up = access.wire(name, self.ground.seed)
        except OptionError as error:
            key = error.option.rpartition(".")[2].replace("down", "rate")
            raise NetworkError(f"{edge.place}: {key}: {error.message}") from error
        if down.rate_bps != up.rate_bps:
            raise NetworkError(
                f"{edge.place}: '{access.choice.preset}' has another rate down than up, and an "
                "edge has no up; give rate"
            )
        return down, up

    def link(self, edge: Edge, name: str) -> Link:
        """One way."""
        down, _ = self.pair(edge)
        if down.cell:
            raise NetworkError(f"{edge.place}: a radio goes both ways; give a rate, or a wire")
        return Link(**{**vars(down), "name": name})

    def _access(self, edge: Edge) -> Access:
        said: dict[str, Any] = {k: v for k, v in edge.said.items() if k not in self.options.ignore}
        for key, (name, unit) in _UNITS.items():
            if key in said:
                said[name] = f"{said.pop(key)} {unit}"
        found = validate(EdgeOptions, said, lambda _: edge.place)
        default = (None if found.preset else self.options.link) or LinkChoice()
        fields: dict[str, Any] = {
            key: value for key, value in found if key not in ("rate", "trace") and value is not None
        }
        if found.rate or found.trace:
            rates = dict.fromkeys(("down", "up"), found.rate)
            traces = dict.fromkeys(("trace", "up_trace"), found.trace)
            if found.rate and found.trace:
                raise NetworkError(f"{edge.place}: both rate and trace; remove one of them")
            fields |= rates | traces
        return Access(default.model_copy(update=fields), self.ground.folder, "file")


_: NetworkKind = file
