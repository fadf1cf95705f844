from pathlib import Path

import networkx as nx
import pytest
from pydantic import ValidationError

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.registry import TOPOLOGIES
from simfl.topologies.base import Site, islands, refuse_islands

NODES = ["server", "a", "b", "c", "d"]
TOPOLOGY = pytest.mark.parametrize("name", TOPOLOGIES.names())
# what has no default
OPTIONS: dict[str, dict[str, object]] = {
    "file": {"path": "star.adjlist"},
    "star_of_stars": {"hubs": 1},
}
TOO_FEW = {"random_regular": 5, "small_world": 5, "star_of_stars": 3}


def build(name: str, nodes: list[str], seed: int = 1, **options: object) -> nx.Graph:
    plugin = TOPOLOGIES.get(name)
    groups = {node: node.partition("-")[0] for node in nodes}
    site = Site(nodes=groups, seed=seed)
    graph = plugin.build(plugin.options.model_validate(options), site)
    assert isinstance(graph, nx.Graph)
    return graph


def overlay(name: str, nodes: list[str], seed: int = 1) -> nx.Graph:
    if name == "file":
        Path("star.adjlist").write_text(" ".join(nodes))
    return build(name, nodes, seed, **OPTIONS.get(name, {}))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@TOPOLOGY
@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_joins_every_node_and_no_node_with_itself(name: str, size: int) -> None:
    nodes = [*NODES, *"efghijk"][:size]
    if size < TOO_FEW.get(name, 0):
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
    graph = build("star", NODES, center="b")
    assert sorted(graph["b"]) == ["a", "c", "d", "server"]
    assert not graph.has_edge("server", "a")


def test_a_centre_that_is_not_there() -> None:
    with pytest.raises(OptionError) as error:
        build("star", NODES, center="z")
    assert (error.value.option, error.value.message) == ("center", "no node 'z'; use 'server'")


def test_without_a_server_the_mend_names_a_node() -> None:
    with pytest.raises(OptionError, match="no node 'server'; use 'a'"):
        build("star", ["a", "b"])


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


def drawn(nodes: int, seed: int, probability: float, joined: str = "drawn") -> nx.Graph:
    return of("random_graph", nodes, seed, probability=probability, joined=joined)


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
    assert (
        error.value.message
        == "0 joined 3 nodes in none of 1000 draws; give more, or joined: repaired"
    )


def of(name: str, size: int, seed: int = 1, **options: object) -> nx.Graph:
    return build(name, [f"n{i}" for i in range(size)], seed, **options)


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


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.3])
def test_a_repaired_random_graph_has_one_more_edge_for_each_island_but_one(
    probability: float,
) -> None:
    found = set()
    for seed in range(30):
        graph = drawn(15, seed, probability, "repaired")
        first = nx.gnp_random_graph(15, probability, seed=seed_of(seed, "random graph", 0))
        apart = nx.number_connected_components(first)
        assert nx.is_connected(graph)
        assert {(f"n{a}", f"n{b}") for a, b in first.edges} <= set(graph.edges)
        assert len(graph.edges) == len(first.edges) + apart - 1
        assert list(drawn(15, seed, probability, "repaired").edges) == list(graph.edges)
        found.add(frozenset(graph.edges))
        if apart == 1:
            assert set(graph.edges) == set(drawn(15, seed, probability).edges)
    # who is joined to whom depends on the seed
    assert len(found) == 30


EDGES_AND_PHONES = ["server", "phone-0", "edge-0", "edge-1", "phone-1", "phone-2"]


def test_leaves_are_dealt_out_to_hubs_in_turn() -> None:
    graph = of("star_of_stars", 12, hubs=3)
    assert sorted(graph["n0"]) == ["n1", "n2", "n3"]
    assert [sorted(set(graph[hub]) - {"n0"}) for hub in ("n1", "n2", "n3")] == [
        ["n10", "n4", "n7"],
        ["n11", "n5", "n8"],
        ["n6", "n9"],
    ]
    assert nx.is_tree(graph)
    elsewhere = of("star_of_stars", 5, hubs=1, center="n3")
    assert sorted(elsewhere.edges) == [("n0", "n1"), ("n0", "n2"), ("n0", "n3"), ("n0", "n4")]


@pytest.mark.parametrize("hubs", [["edge"], ["edge-1", "edge-0"], ["edge-0", "edge"]])
def test_hubs_by_their_group_or_their_names(hubs: list[str]) -> None:
    graph = build("star_of_stars", EDGES_AND_PHONES, hubs_are=hubs)
    assert {node: list(graph[node]) for node in ("server", "edge-0", "edge-1")} == {
        "server": ["edge-0", "edge-1"],
        "edge-0": ["server", "phone-0", "phone-2"],
        "edge-1": ["server", "phone-1"],
    }


def test_without_a_server_the_first_peer_is_the_center() -> None:
    graph = build("star_of_stars", EDGES_AND_PHONES[1:], hubs_are=["edge"])
    assert list(graph["phone-0"]) == ["edge-0", "edge-1"]


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"hubs": 3}, "hubs", "3 hubs, and 2 of 5 nodes left for leaves; give fewer hubs, or add"),
        ({"hubs": 9}, "hubs", "5 hubs, and 0 of 5 nodes left for leaves; give fewer hubs"),
        ({"hubs_are": ["phone"]}, "hubs_are", "3 hubs, and 2 of 5 nodes left for leaves; give"),
        ({"hubs_are": ["edge", "hub"]}, "hubs_are.1", "no device group or node 'hub'; valid: edge"),
        ({"hubs_are": ["edgee"]}, "hubs_are.0", "no device group or node 'edgee'; did you mean"),
        ({"hubs_are": ["server"]}, "hubs_are.0", "'server' is the center; remove it, or give an"),
        ({"hubs": 2, "center": "z"}, "center", "no node 'z'; use 'server'"),
    ],
)
def test_hubs_that_cannot_be(options: dict[str, object], option: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        build("star_of_stars", EDGES_AND_PHONES, **options)
    assert error.value.option == option
    assert error.value.message.startswith(message)


@pytest.mark.parametrize("options", [{}, {"hubs": 2, "hubs_are": ["edge"]}])
def test_hubs_are_said_in_one_way(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="give either hubs or hubs_are, and not both"):
        build("star_of_stars", EDGES_AND_PHONES, **options)


def test_an_island_names_its_nodes() -> None:
    graph = nx.Graph([("a", "b"), ("c", "d"), ("d", "e"), ("e", "f"), ("g", "h")])
    assert islands(graph) == "not joined to 'c', 'd', 'e', 'f': 'a', 'b'; nor 'g', 'h'"
    with pytest.raises(OptionError, match=r"^name: not joined to .*; join them$"):
        refuse_islands(graph)
    graph.add_edges_from([("f", "g"), ("b", "c")])
    assert islands(graph) == ""
    refuse_islands(graph)
    many: nx.Graph = nx.empty_graph([f"n{i}" for i in range(9)])
    assert islands(many).endswith("nor 'n5'; nor 3 more islands")
