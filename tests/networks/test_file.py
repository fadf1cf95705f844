import json
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

from simfl.errors import OptionError
from simfl.networks.base import Wiring

Build = Callable[..., Wiring]
GOOD = """\
# a drawn network
server home-0 {rate: 5 Mbit/s, latency: 3 ms, loss: 0.01, queue: 64 kB}
home-0 home-1 {preset: ethernet_100}
server bus {rate_bps: 7e6, latency_s: 0.5}
"""


def check(wiring: Wiring, hops: Callable[..., list[str]]) -> None:
    links = {link.name: link for link in wiring.wires.links}
    [first, last] = hops(wiring, "server", "home-1")
    assert (links[first].rate_bps, links[first].latency_s) == (5e6, 0.003)
    assert (links[first].loss, links[first].queue_bytes) == (0.01, 64e3)
    assert (links[last].rate_bps, links[last].overhead_bytes) == (100e6, 38)
    [slow] = hops(wiring, "bus", "server")
    assert (links[slow].rate_bps, links[slow].latency_s) == (7e6, 0.5)


def test_a_list_of_edges(build: Build, hops: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "net.edges").write_text(GOOD)
    check(build("file", file="net.edges"), hops)


def drawn() -> nx.Graph:
    graph: nx.Graph[str] = nx.Graph()
    graph.add_edge("server", "home-0", rate="5 Mbit/s", latency="3 ms", loss=0.01, queue="64 kB")
    graph.add_edge("home-0", "home-1", preset="ethernet_100")
    graph.add_edge("server", "bus", rate_bps=7e6, latency_s=0.5, colour="red")
    return graph


def test_graphml(build: Build, hops: Callable[..., list[str]], tmp_path: Path) -> None:
    nx.write_graphml(drawn(), tmp_path / "net.graphml")
    check(build("file", file="net.graphml", ignore=["colour"]), hops)
    nx.write_graphml(drawn().to_directed(), tmp_path / "both.graphml")
    check(build("file", file="both.graphml", ignore=["colour"]), hops)


def test_json(build: Build, hops: Callable[..., list[str]], tmp_path: Path) -> None:
    links = [{"source": a, "target": b, **data} for a, b, data in drawn().edges(data=True)]
    data = {"directed": False, "nodes": [{"id": n} for n in drawn()], "links": links}
    (tmp_path / "net.json").write_text(json.dumps(data))
    check(build("file", file="net.json", ignore=["colour"]), hops)


def test_nodes_of_other_names_and_edges_that_say_nothing(
    build: Build, hops: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "map.txt").write_text("Oslo Bergen\nBergen Voss {rate: 1 Mbit/s}\n")
    at = {"server": "Oslo", "home-0": "Bergen", "home-1": "Bergen", "bus": "Voss"}
    wiring = build("file", file="map.txt", at=at, link="ethernet_1g")
    assert hops(wiring, "server", "bus") == [
        *("server up", "Oslo - Bergen down", "Bergen - Voss down", "bus down")
    ]
    assert hops(wiring, "home-0", "home-1") == ["home-0 up", "home-1 down"]
    rates = {link.name: link.rate_bps for link in wiring.wires.links}
    assert (rates["Oslo - Bergen down"], rates["Bergen - Voss up"]) == (1e9, 1e6)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("a.edges", ("home-0 home-1", "x home-1"), "{p}: no way there and back|'x'"),
        (
            "a.edges",
            ("server", "srv"),
            "no node 'server' in {p}; did you mean 'srv'?",
        ),
        ("a.edges", ("bus", "tram"), "no node 'bus' in {p}; "),
        ("a.edges", ("5 Mbit/s", "0 Mbit/s"), "{p}:2: rate: '0 Mbit/s' is out of range"),
        ("a.edges", ("5 Mbit/s", "5"), "{p}:2: rate: 5 has no unit; write a rate with its unit"),
        ("a.edges", ("3 ms", "-3 ms"), "{p}:2: latency: '-3 ms' is out of range"),
        ("a.edges", ("0.01", "1"), "{p}:2: loss: 1 is out of range; give a value below 1"),
        ("a.edges", ("0.01", "1 %"), "{p}:2: loss: '1 %' is a percentage; write a share of 1"),
        ("a.edges", ("latency:", "latncy:"), "{p}:2: latncy: unknown key; did you mean 'latency'?"),
        ("a.edges", ("rate: 5 Mbit/s, ", ""), "{p}:2: rate: missing; add this key, or a preset"),
        ("a.edges", ("100", "10"), "{p}:3: preset: unknown link preset 'ethernet_10'; did you"),
        ("a.edges", ("ethernet_100", "adsl"), "{p}:3: 'adsl' has another rate down than up"),
        (
            "a.edges",
            ("{preset: ethernet_100}", "{preset"),
            "{p}:3: '{{preset' is no mapping",
        ),
        ("a.edges", ("home-0 home-1", "home-0 server"), "{p}:3: stands twice; remove one of the"),
        ("a.edges", ("home-0 home-1", "home-0 home-0"), "{p}:3: joins 'home-0' to itself; remove"),
        ("a.gml", ("", ""), "{p}: unknown graph format '.gml'; say format: graphml, json, edge"),
        ("a.json", ("# a drawn network", "{"), "{p}:2: not JSON: "),
        ("a.graphml", ("# a drawn network", "<graphml><x"), "{p}:2: not XML: "),
    ],
)
def test_a_file_that_is_no_network(
    build: Build, tmp_path: Path, name: str, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / name
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(OptionError) as error:
        build("file", file=name)
    assert error.value.option == "file"
    said = error.value.message
    assert "\n" not in said
    if "|" in message:
        # an island: its nodes are named
        assert said.startswith("no way there and back between 'server', 'home-0', 'bus' and 'home")
        assert said.endswith(f"'x' in {path}; join them")
    else:
        assert said.startswith(message.format(p=path))


def test_one_way_only(build: Build, tmp_path: Path) -> None:
    (tmp_path / "a.edges").write_text(GOOD)
    with pytest.raises(OptionError, match="no way there and back between 'server' and 'home-0'"):
        build("file", file="a.edges", directed=True)


def test_a_list_of_neighbours_whose_edges_say_nothing(
    build: Build, hops: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "net.adjlist").write_text("server home-0 bus\nhome-0 server home-1\n")
    wiring = build("file", file="net.adjlist", link="ethernet_1g")
    assert len(hops(wiring, "bus", "home-1")) == 3
    assert {link.rate_bps for link in wiring.wires.links} == {1e9}
    with pytest.raises(
        OptionError, match="no way there and back between 'server', 'home-0' and 'home-1'"
    ):
        build("file", file="net.adjlist", link="ethernet_1g", directed=True)
