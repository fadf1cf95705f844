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
@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_joins_every_node_and_no_node_with_itself(name: str, size: int) -> None:
    nodes = [*NODES, *"efghijk"][:size]
    if size < 5 and name in ("random_regular", "small_world"):
        with pytest.raises(OptionError, match="give"):
            overlay(name, nodes)
        return
    graph = overlay(name, nodes)
    assert list(graph.nodes) == nodes
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


def test_without_a_server_the_mend_names_a_node() -> None:
    plugin = TOPOLOGIES.get("star")
    with pytest.raises(OptionError, match="no node 'server'; use 'a'"):
        plugin.build(plugin.options(), ["a", "b"], seed=1)


def test_in_a_ring_every_node_has_the_next_and_the_one_before() -> None:
    peers = ["a", "b", "c", "d", "e"]
    graph = overlay("ring", peers)
    assert {node: sorted(graph[node]) for node in peers} == {
        "a": ["b", "e"],
        "b": ["a", "c"],
        "c": ["b", "d"],
        "d": ["c", "e"],
        "e": ["a", "d"],
    }
    assert list(overlay("ring", ["a", "b"]).edges) == [("a", "b")]
    with pytest.raises(OptionError, match="a ring of one node; add devices"):
        overlay("ring", ["a"])


def drawn(nodes: int, seed: int, probability: float) -> nx.Graph:
    plugin = TOPOLOGIES.get("random_graph")
    options = plugin.options(probability=probability)
    return plugin.build(options, [f"n{i}" for i in range(nodes)], seed=seed)


def test_a_random_graph_has_its_share_of_edges_and_is_connected() -> None:
    graphs = [drawn(12, seed, 0.3) for seed in range(200)]
    assert all(nx.is_connected(graph) for graph in graphs)
    # 66 pairs x 0.3 = 19.8, and 20.6 where only connected graphs count
    assert sum(len(g.edges) for g in graphs) / 200 == pytest.approx(20.6, abs=0.6)
    assert len({frozenset(graph.edges) for graph in graphs}) > 190
    assert len(drawn(12, 1, 1.0).edges) == 66


def test_a_random_graph_that_is_never_connected() -> None:
    with pytest.raises(OptionError) as error:
        drawn(3, 1, 0.0)
    assert error.value.option == "probability"
    assert error.value.message == "0 joined 3 nodes in none of 1000 draws; give more"


def of(name: str, size: int, seed: int = 1, **options: object) -> nx.Graph:
    plugin = TOPOLOGIES.get(name)
    graph = plugin.build(plugin.options(**options), [f"n{i}" for i in range(size)], seed=seed)
    assert isinstance(graph, nx.Graph)
    return graph


def degrees(graph: nx.Graph) -> list[int]:
    return sorted(degree for _, degree in graph.degree)


def test_in_a_complete_graph_everybody_talks_to_everybody() -> None:
    assert degrees(of("complete", 7)) == [6] * 7


def test_in_a_regular_graph_all_have_as_many_neighbours() -> None:
    for degree in (2, 3, 5):
        assert degrees(of("random_regular", 12, degree=degree)) == [degree] * 12
    edges = {frozenset(of("random_regular", 12, seed).edges) for seed in range(20)}
    assert len(edges) == 20


@pytest.mark.parametrize(("size", "degree"), [(5, 3), (4, 4), (3, 5)])
def test_a_regular_graph_that_is_not_there(size: int, degree: int) -> None:
    with pytest.raises(OptionError, match=f"{size} nodes cannot have {degree} neighbours each"):
        of("random_regular", size, degree=degree)


def test_a_small_world_is_a_ring_with_some_edges_laid_elsewhere() -> None:
    ring = nx.circulant_graph(20, [1, 2])
    untouched = of("small_world", 20, rewired=0.0)
    assert nx.is_isomorphic(untouched, ring)
    rewired = of("small_world", 20, rewired=0.3)
    assert len(rewired.edges) == len(ring.edges) == 40
    # shorter ways are what it is for
    assert nx.average_shortest_path_length(rewired) < nx.average_shortest_path_length(ring)
    with pytest.raises(OptionError, match="4 neighbours among 4 nodes; give fewer"):
        of("small_world", 4)


@pytest.mark.parametrize(("size", "rows", "expected"), [(12, 3, 4), (16, 4, 4), (7, 1, 2)])
def test_a_torus_has_four_beside_each(size: int, rows: int, expected: int) -> None:
    graph = of("torus", size)
    assert degrees(graph) == [expected] * size
    columns = size // rows
    if rows > 1:
        assert nx.is_isomorphic(graph, nx.grid_2d_graph(rows, columns, periodic=True))
    assert graph.has_edge("n0", f"n{columns - 1}")


def test_rows_that_do_not_fill_a_torus() -> None:
    with pytest.raises(OptionError, match="12 nodes do not fill 5 rows; give a divisor"):
        of("torus", 12, rows=5)


@pytest.mark.parametrize("children", [1, 2, 3])
def test_a_tree_has_no_cycle_and_no_node_more_children(children: int) -> None:
    graph = of("tree", 13, children=children)
    assert nx.is_tree(graph)
    assert max(degree for _, degree in graph.degree) <= children + 1
    assert graph.degree["n0"] == min(children, 12)
    assert nx.is_isomorphic(of("tree", 13, children=3), nx.balanced_tree(3, 2))
