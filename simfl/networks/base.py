"""What a kind of network is: a graph whose edges carry links; and what all kinds share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Protocol

import networkx as nx
from pydantic import Field

from simfl.cost.framing import Framing
from simfl.cost.transport import Transport
from simfl.cost.wires import SERVER, Link, Wires
from simfl.errors import OptionError, did_you_mean
from simfl.networks.routes import GraphWires, islands
from simfl.options import Options

CORE: Final = "(core)"
"""Where access links meet; it never limits. No scenario's node can have such a name."""
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a network is built on.

    Attributes:
        nodes: the scenario's nodes and their device groups; the server first, where there is one.
        seed: the scenario's.
        folder: what the paths in a scenario are relative to.
        access: by group, the preset of the link that the device model says is usual.
        radios_bps: by group, the goodput of the device model's radio; by node where each has one of
            its own.
        links_bps: by node, the goodput of its own link, where that is known of each.
    """

    nodes: Mapping[str, str]
    seed: int
    folder: Path = Path()
    access: Mapping[str, str] = field(default_factory=dict)
    radios_bps: Mapping[str, float] = field(default_factory=dict)
    links_bps: Mapping[str, float] = field(default_factory=dict)

    @property
    def clients(self) -> dict[str, str]:
        """The nodes that train: clients or peers."""
        return {node: group for node, group in self.nodes.items() if node != SERVER}

    @property
    def has_server(self) -> bool:
        """Whether one of the nodes is a server."""
        return SERVER in self.nodes


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """A network, ready to carry messages.

    Attributes:
        notes: what nobody said and is assumed, for a person.
    """

    wires: Wires
    transport: Transport
    framing: Framing
    notes: tuple[str, ...] = ()


class NetworkOptions(Options):
    """What every kind of real network has beside its shape.

    Attributes:
        transport: what of TCP is charged.
        framing: what the application wraps messages in.
    """

    transport: Transport = Field(default_factory=Transport)
    framing: Framing = Field(default_factory=Framing)

    def suits(self, nodes: Mapping[str, str]) -> None:
        """Refuse options that do not fit the scenario's nodes (name -> device group).

        Raises:
            OptionError: they do not.
        """


class NetworkKind(Protocol):
    """Builds the wires between nodes; pure and seeded."""

    def __call__(self, options: Any, ground: Ground) -> nx.DiGraph[str]:
        """A graph over the nodes and whatever lies between them.

        Each edge has a ``link`` (`Link`) and, where that is a cell, a ``station`` (the index of the
        one whose radio is used). One link on several edges is shared by them. The graph may have
        ``notes`` and ``multipath`` (see `Wiring` and `GraphWires`) among its attributes.

        Raises:
            OptionError: no such network over these nodes.
        """


def wire(build: NetworkKind, options: Any, ground: Ground) -> Wiring:
    """Build a network and look whether everybody can be reached.

    Raises:
        OptionError: an island, or nodes between which only one direction is wired.
    """
    graph = build(options, ground)
    apart = islands(graph, ground.nodes)
    if apart:
        where = graph.graph.get("where", "")
        raise OptionError(
            graph.graph.get("option", "kind"),
            f"no way there and back between {_named(apart[0])} and {_named(apart[1])}{where}; "
            "join them",
        )
    seed = ground.seed if graph.graph.get("multipath") else None
    return Wiring(
        wires=GraphWires(graph, multipath_seed=seed),
        transport=options.transport,
        framing=options.framing,
        notes=tuple(graph.graph.get("notes", ())),
    )


def _named(nodes: Iterable[str]) -> str:
    """Some names, and how many there are more."""
    names = list(nodes)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more


def known(keys: Iterable[str], nodes: Mapping[str, str], option: str) -> None:
    """Keys are groups or nodes of the scenario, the server aside.

    Raises:
        OptionError: one is not, with the nearest that is.
    """
    groups = [group for group in dict.fromkeys(nodes.values()) if group != SERVER]
    names = {*groups, *nodes} - {SERVER}
    for key in keys:
        if key not in names:
            mend = did_you_mean(key, names if get_close_matches(key, names) else groups)
            raise OptionError(f"{option}.{key}", f"no device group '{key}'; {mend}")


def no_server_keys(options: Options, keys: Iterable[str], nodes: Mapping[str, str]) -> None:
    """Among peers nothing is said of a server.

    Raises:
        OptionError: something is.
    """
    for key in keys:
        if SERVER not in nodes and getattr(options, key) is not None:
            raise OptionError(key, "there is no server; remove this key")


def join(graph: nx.DiGraph[str], place: str, hub: str, down: Link, up: Link) -> None:
    """Wire a place to a hub; one link for both ways is a cell, and the place its only station."""
    station = {"station": 0} if down.cell else {}
    graph.add_edge(place, hub, link=up, **station)
    graph.add_edge(hub, place, link=down, **station)
