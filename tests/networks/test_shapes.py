"""Rings, fat trees and random geometric graphs: what their sources say of them."""

from collections.abc import Callable
from math import dist

import networkx as nx
import pytest

from simfl.errors import OptionError
from simfl.networks.base import Ground, Wiring
from simfl.registry import NETWORKS

Build = Callable[..., Wiring]
LINK = {"down": "10 Mbit/s", "up": "5 Mbit/s", "latency": "1 ms"}


def drawn(kind: str, count: int, seed: int = 1, **options: object) -> nx.DiGraph:
    nodes = {f"n{i}": "n" for i in range(count)}
    plugin = NETWORKS.get(kind)
    options = {"link": LINK, **options}
    return plugin.build(plugin.options.model_validate(options), Ground(nodes=nodes, seed=seed))


def test_in_a_ring_messages_go_the_shorter_way_round(
    build: Build, hops: Callable[..., list[str]]
) -> None:
    nodes = {f"n{i}": "n" for i in range(6)}
    wiring = build("ring", nodes, link=LINK)
    assert len(wiring.wires.links) == 12
    assert hops(wiring, "n0", "n2") == ["n0 - n1 down", "n1 - n2 down"]
    assert hops(wiring, "n0", "n5") == ["n5 - n0 up"]
    # of two equal ways the first by name, n1
    assert hops(wiring, "n0", "n3")[0] == "n0 - n1 down"
    assert len(drawn("ring", 2).edges) == 2
    with pytest.raises(OptionError, match="a ring of one node"):
        drawn("ring", 1)


@pytest.mark.parametrize(("ports", "hosts"), [(2, 2), (4, 16), (6, 54)])
def test_a_fat_tree_has_the_papers_counts(ports: int, hosts: int) -> None:
    graph = drawn("fat_tree", hosts)
    kinds = [node.split()[0] for node in graph if node.startswith("(")]
    half = ports // 2
    assert kinds.count("(core") == half**2
    assert kinds.count("(aggregation") == kinds.count("(edge") == ports * half
    degrees = {node: degree for node, degree in graph.out_degree if node.startswith("(")}
    assert set(degrees.values()) == {ports}
    with pytest.raises(OptionError, match=f"{ports} ports hold {hosts} hosts of {hosts + 1}; give"):
        drawn("fat_tree", hosts + 1, ports=ports)


def test_a_fat_tree_spreads_its_pairs_over_the_core(build: Build) -> None:
    nodes = {f"n{i}": "n" for i in range(16)}

    def cores(**options: object) -> set[str]:
        wiring = build("fat_tree", nodes, link=LINK, **options)
        ways = (wiring.wires.path(f"n{a}", f"n{b}") for a in range(4) for b in range(8, 16))
        links = [wiring.wires.links[hop.link] for way in ways if way for hop in way.out]
        return {link.name.split(" - ")[1] for link in links if "- (core" in link.name}

    assert {name.removesuffix(" up").removesuffix(" down") for name in cores()} == {
        *("(core 0.0)", "(core 0.1)", "(core 1.0)", "(core 1.1)")
    }
    assert len(cores(multipath=False)) == 2  # one core switch, up and down


def test_near_nodes_are_wired_and_distance_takes_time() -> None:
    graph = drawn("random_geometric", 30, radius=0.4, across="10 ms")
    delays = sorted(data["link"].latency_s for _, _, data in graph.edges(data=True))
    assert delays[0] >= 0.001
    # no wire is longer than the radius: 1 ms and 0.4 of 10 ms
    assert 0.003 < delays[-1] <= 0.005
    for a, b in graph.edges:
        assert graph.edges[a, b]["link"].latency_s == graph.edges[b, a]["link"].latency_s
    other = drawn("random_geometric", 30, seed=2, radius=0.4)
    assert set(other.edges) != set(graph.edges)
    assert len(drawn("random_geometric", 10, radius=dist((0, 0), (1, 1))).edges) == 90
    with pytest.raises(OptionError, match=r"radius: 0\.01 joined 9 nodes in none of 1000 draws"):
        drawn("random_geometric", 9, radius=0.01)


def test_ideal_kinds_are_fluid_and_keep_their_delay(build: Build) -> None:
    cell = build("shared_medium", rate="20 Mbit/s", exchange_overhead="450 ms")
    wires = build("access_links", down="20 Mbit/s", up="5 Mbit/s", latency="30 ms")
    for wiring, delay_s in ((cell, 0.225), (wires, 0.03)):
        assert (wiring.transport.kind, wiring.framing.kind) == ("fluid", "none")
        for ends in (("server", "bus"), ("bus", "server"), ("home-0", "home-1")):
            path = wiring.wires.path(*ends)
            assert path is not None
            assert sum(wiring.wires.links[hop.link].latency_s for hop in path.out) == delay_s


def test_whose_rate_nobody_knows(build: Build) -> None:
    with pytest.raises(OptionError, match=r"rate: the device model of 'bus' has no radio rate"):
        build("shared_medium", rates={"home": "5 Mbit/s"})
