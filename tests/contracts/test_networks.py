"""What every kind of network keeps."""

from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from simfl.cost.wires import Link
from simfl.networks.base import Ground, wire
from simfl.registry import NETWORKS

ROOT = Path(__file__).parents[2]
NODES = {"server": "server", "a-0": "a", "a-1": "a", "b-0": "b", "b-1": "b", "b-2": "b"}
WIRE = {"down": "20 Mbit/s", "up": "5 Mbit/s", "latency": "5 ms", "queue": "64 kB"}
OPTIONS: dict[str, dict[str, Any]] = {
    "access_links": {"down": "20 Mbit/s", "up": "5 Mbit/s", "latency": "10 ms"},
    "cells": {"cells": 2, "wifi": "wifi_5ghz", "backbone": WIRE},
    "fat_tree": {"link": WIRE},
    "file": {"file": "net.edges"},
    "random_geometric": {"radius": 0.5, "link": WIRE, "across": "10 ms"},
    "ring": {"link": WIRE},
    "shared_medium": {"rate": "20 Mbit/s"},
    "star": {"access": WIRE, "server": "ethernet_1g"},
}
KIND = pytest.mark.parametrize("kind", NETWORKS.names())


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    names = list(NODES)
    lines = [f"{a} {b} {{rate: 5 Mbit/s, latency: 1 ms}}" for a, b in pairwise(names)]
    (tmp_path / "net.edges").write_text("\n".join(lines))
    return Ground(nodes=NODES, seed=3, folder=tmp_path)


def drawn(kind: str, ground: Ground) -> nx.DiGraph:
    plugin = NETWORKS.get(kind)
    return plugin.build(plugin.options.model_validate(OPTIONS[kind]), ground)


def test_there_are_options_for_every_kind() -> None:
    assert set(OPTIONS) == set(NETWORKS.names())


@KIND
def test_every_node_is_wired_and_every_edge_has_a_link(kind: str, ground: Ground) -> None:
    graph = drawn(kind, ground)
    assert isinstance(graph, nx.DiGraph)
    assert set(NODES) <= set(graph)
    assert nx.is_strongly_connected(graph)
    assert nx.number_of_selfloops(graph) == 0
    for _, _, data in graph.edges(data=True):
        link = data["link"]
        assert isinstance(link, Link)
        assert link.name
        assert link.rate_bps > 0
        assert 0 <= link.latency_s < inf
        assert ("station" in data) == (link.cell is not None)
        if link.cell:
            assert 0 <= data["station"] < len(link.cell.station_bps)


@KIND
def test_a_link_that_is_no_cell_is_one_way(kind: str, ground: Ground) -> None:
    links = [data["link"] for _, _, data in drawn(kind, ground).edges(data=True)]
    wires = [link for link in links if link.cell is None]
    assert len({id(link) for link in wires}) == len(wires)
    names = {id(link): link.name for link in links}
    assert len(set(names.values())) == len(names)


@KIND
def test_paths_go_there_and_back(kind: str, ground: Ground) -> None:
    plugin = NETWORKS.get(kind)
    options = plugin.options.model_validate(OPTIONS[kind])
    wires = wire(plugin.build, options, ground).wires
    for source in NODES:
        for target in NODES:
            path = wires.path(source, target)
            if source == target:
                assert path is None
                continue
            assert path is not None
            back = wires.path(target, source)
            assert back is not None
            assert (path.out, path.back) == (back.back, back.out)
            assert path.out
            for hop in (*path.out, *path.back):
                link = wires.links[hop.link]
                assert (hop.station >= 0) == (link.cell is not None)
    assert wires.path("server", "nobody") is None


@KIND
def test_one_seed_one_network(kind: str, ground: Ground) -> None:
    one, other = (list(drawn(kind, ground).edges(data=True)) for _ in range(2))
    assert one == other


@KIND
def test_among_peers_there_is_no_server(kind: str, ground: Ground) -> None:
    peers = {node: group for node, group in NODES.items() if node != "server"}
    plugin = NETWORKS.get(kind)
    said = {key: value for key, value in OPTIONS[kind].items() if key != "server"}
    alone = Ground(nodes=peers, seed=3, folder=ground.folder)
    graph = plugin.build(plugin.options.model_validate(said), alone)
    assert set(peers) <= set(graph)
    assert kind == "file" or "server" not in graph
