import networkx as nx
import pytest

from simfl.errors import OptionError
from simfl.registry import TOPOLOGIES

NODES = ["server", "a", "b", "c", "d"]
TOPOLOGY = pytest.mark.parametrize("name", TOPOLOGIES.names())


def overlay(name: str, nodes: list[str], seed: int = 1) -> nx.Graph:
    plugin = TOPOLOGIES.get(name)
    graph = plugin.build(plugin.options(), nodes, seed=seed)
    assert isinstance(graph, nx.Graph)
    return graph


@TOPOLOGY
@pytest.mark.parametrize("size", [2, 3, 5])
def test_joins_every_node_and_no_node_with_itself(name: str, size: int) -> None:
    graph = overlay(name, NODES[:size])
    assert list(graph.nodes) == NODES[:size]
    assert nx.is_connected(graph)
    assert nx.number_of_selfloops(graph) == 0


@TOPOLOGY
def test_one_seed_one_overlay(name: str) -> None:
    assert list(overlay(name, NODES).edges) == list(overlay(name, NODES).edges)


@TOPOLOGY
def test_the_nodes_are_not_changed(name: str) -> None:
    nodes = list(NODES)
    overlay(name, nodes)
    assert nodes == NODES


def test_the_centre_of_a_star_has_every_other_node_beside_it() -> None:
    graph = overlay("star", NODES)
    assert dict(graph.degree) == {"server": 4, "a": 1, "b": 1, "c": 1, "d": 1}


def test_another_centre() -> None:
    plugin = TOPOLOGIES.get("star")
    graph = plugin.build(plugin.options(center="b"), NODES, seed=1)
    assert sorted(graph["b"]) == ["a", "c", "d", "server"]
    assert not graph.has_edge("server", "a")


def test_a_centre_that_is_not_there() -> None:
    plugin = TOPOLOGIES.get("star")
    with pytest.raises(OptionError) as error:
        plugin.build(plugin.options(center="z"), NODES, seed=1)
    assert (error.value.option, error.value.message) == ("center", "no node 'z'; use 'server'")
