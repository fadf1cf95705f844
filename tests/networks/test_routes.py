from itertools import pairwise, permutations
from random import Random

import networkx as nx
import pytest

from simfl.cost.wires import Link
from simfl.networks.routes import GraphWires, islands


def wired(edges: list[tuple[str, str, float]], both: bool = True) -> nx.DiGraph:
    """Edges with latencies in seconds."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for a, b, latency_s in edges:
        graph.add_edge(a, b, link=Link(name=f"{a}>{b}", rate_bps=1e6, latency_s=latency_s))
        if both:
            graph.add_edge(b, a, link=Link(name=f"{b}>{a}", rate_bps=1e6, latency_s=latency_s))
    return graph


def way(wires: GraphWires, source: str, target: str) -> list[str]:
    path = wires.path(source, target)
    assert path is not None
    return [wires.links[hop.link].name for hop in path.out]


def test_by_latency_then_hops_then_name() -> None:
    square = [("s", "b", 0.01), ("b", "t", 0.01), ("s", "a", 0.01), ("a", "t", 0.01)]
    assert way(GraphWires(wired(square)), "s", "t") == ["s>a", "a>t"]
    # as long in fewer hops, though its latencies add up to another float: 0.1 + 0.2 != 0.3
    longer = [("s", "a", 0.1), ("a", "t", 0.2), ("s", "t", 0.3), ("t", "x", 1.0), ("s", "x", 1.0)]
    assert 0.1 + 0.2 != 0.3
    assert way(GraphWires(wired(longer)), "s", "t") == ["s>t"]
    assert way(GraphWires(wired([*square, ("s", "t", 0.03)])), "s", "t") == ["s>a", "a>t"]


@pytest.mark.parametrize("seed", range(20))
def test_as_short_as_networkx_finds_it(seed: int) -> None:
    """Random graphs with trees hanging on them, against Dijkstra over the whole graph."""
    draw = Random(seed)
    names = [f"n{i}" for i in range(18)]
    edges = [(names[i], names[draw.randrange(i)], draw.randint(0, 9) / 1e3) for i in range(1, 18)]
    edges += [(*draw.sample(names, 2), draw.randint(0, 9) / 1e3) for _ in range(seed // 2)]
    graph = wired(edges)
    wires = GraphWires(graph)
    for source, target in permutations(names, 2):
        names_of_hops = way(wires, source, target)
        ends = [name.split(">") for name in names_of_hops]
        assert ends[0][0] == source
        assert ends[-1][1] == target
        assert all(one[1] == next_[0] for one, next_ in pairwise(ends))
        found_s = sum(graph.edges[a, b]["link"].latency_s for a, b in ends)
        shortest_s = nx.shortest_path_length(
            graph, source, target, weight=lambda a, b, data: data["link"].latency_s
        )
        assert found_s == pytest.approx(shortest_s, abs=1e-12)


def test_the_order_of_the_edges_does_not_matter() -> None:
    draw = Random(5)
    edges = [(f"n{i}", f"n{j}", 0.001) for i in range(8) for j in range(i) if draw.random() < 0.5]
    edges += [(f"n{i}", f"n{i + 1}", 0.001) for i in range(7) if (f"n{i + 1}", f"n{i}", 0.001)]
    edges = list({frozenset(edge[:2]): edge for edge in edges}.values())
    shuffled = draw.sample(edges, len(edges))
    one, other = GraphWires(wired(edges)), GraphWires(wired(shuffled))
    for pair in permutations({end for edge in edges for end in edge[:2]}, 2):
        assert way(one, *pair) == way(other, *pair)


def test_one_way_streets() -> None:
    graph = wired([("a", "b", 0.0), ("b", "c", 0.0), ("c", "a", 0.0)], both=False)
    wires = GraphWires(graph)
    path = wires.path("a", "b")
    assert path is not None
    assert [wires.links[hop.link].name for hop in path.out] == ["a>b"]
    assert [wires.links[hop.link].name for hop in path.back] == ["b>c", "c>a"]
    # what cannot come back is no way
    assert GraphWires(wired([("a", "b", 0.0)], both=False)).path("a", "b") is None


def test_in_a_tree_nothing_is_searched() -> None:
    edges = [("c", "l", 0.1), ("c", "r", 0.1), ("l", "a", 0.1), ("l", "b", 0.1), ("r", "d", 0.1)]
    wires = GraphWires(wired(edges))
    assert len(wires._number) == 1
    assert way(wires, "a", "b") == ["a>l", "l>b"]
    assert way(wires, "a", "d") == ["a>l", "l>c", "c>r", "r>d"]
    assert way(wires, "a", "c") == ["a>l", "l>c"]
    assert way(wires, "l", "a") == ["l>a"]
    assert wires._lengths == {}
    assert way(GraphWires(wired([("a", "b", 0.1)])), "a", "b") == ["a>b"]


def test_equal_ways_are_spread_by_the_pair_and_the_seed() -> None:
    edges = [(f"h{i}", "s", 0.0) for i in range(200)]
    edges += [(a, b, 0.0) for m in "wxyz" for a, b in (("s", m), (m, "t"))]
    graph = wired([*edges, ("t", "target", 0.0)])
    spread = GraphWires(graph, multipath_seed=1)
    middles = [way(spread, f"h{i}", "target")[1] for i in range(200)]
    counts = [middles.count(f"s>{m}") for m in "wxyz"]
    assert sum(counts) == 200
    assert min(counts) > 30
    again = GraphWires(graph, multipath_seed=1)
    assert middles == [way(again, f"h{i}", "target")[1] for i in range(200)]
    assert {way(GraphWires(graph), f"h{i}", "target")[1] for i in range(9)} == {"s>w"}


def test_islands_are_named_by_their_nodes() -> None:
    graph = wired([("a", "b", 0.0), ("c", "r", 0.0)])
    assert islands(graph, ["a", "b", "c"]) == [["a", "b"], ["c", "r"]]
    assert islands(wired([("a", "b", 0.0)]), ["a", "b"]) == []
