"""Overlays from files: what is read, and one line for every file that is none."""

import json
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

import simfl
from simfl.assembly import check
from simfl.errors import OptionError, ScenarioError
from simfl.registry import TOPOLOGIES
from simfl.scenario import load, loads
from simfl.topologies.base import Site

Build = Callable[..., nx.Graph]
NODES = {"server": "server", "home-0": "home", "home-1": "home", "bus": "bus"}
PAIRS = [("server", "home-0"), ("home-0", "home-1"), ("server", "bus")]
GOOD = """\
# who talks to whom
server home-0
home-0 home-1
server bus
"""


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def made(path: str, **options: object) -> nx.Graph:
        plugin = TOPOLOGIES.get("file")
        checked = plugin.options.model_validate({"path": path, **options})
        return plugin.build(checked, Site(nodes=NODES, seed=1, folder=tmp_path))

    return made


def is_drawn(graph: nx.Graph) -> bool:
    assert list(graph.nodes) == list(NODES)
    return {frozenset(e) for e in graph.edges} == {frozenset(e) for e in PAIRS}


def test_a_list_of_edges(build: Build, tmp_path: Path) -> None:
    (tmp_path / "o.edgelist").write_text(GOOD)
    assert is_drawn(build("o.edgelist"))
    nx.write_edgelist(nx.Graph(PAIRS), tmp_path / "o.data")
    assert is_drawn(build("o.data", format="edge_list"))


def test_a_list_of_neighbours(build: Build, tmp_path: Path) -> None:
    nx.write_adjlist(nx.Graph(PAIRS), tmp_path / "o.adjlist")
    assert is_drawn(build("o.adjlist"))
    both = "server home-0 bus\nhome-0 server home-1\nhome-1 home-0\nbus server\n"
    (tmp_path / "o.txt").write_text(both)
    assert is_drawn(build("o.txt", format="adjacency_list"))


def test_graphml_and_json(build: Build, tmp_path: Path) -> None:
    nx.write_graphml(nx.Graph(PAIRS), tmp_path / "o.graphml")
    assert is_drawn(build("o.graphml"))
    nodes, links = [{"id": n} for n in NODES], [{"source": a, "target": b} for a, b in PAIRS]
    (tmp_path / "o.json").write_text(json.dumps({"nodes": nodes, "links": links}))
    assert is_drawn(build("o.json"))


def test_the_file_of_a_network_can_be_an_overlay(build: Build, tmp_path: Path) -> None:
    (tmp_path / "o.edges").write_text(GOOD.replace("home-1\n", "home-1 {rate: 5 Mbit/s}\n"))
    with pytest.raises(OptionError, match=r"o\.edges:3: an overlay's edge has no 'rate'; remove"):
        build("o.edges")
    assert is_drawn(build("o.edges", ignore=["rate"]))


XML = """\
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">
<node id="server"/><node id="home-0"/><node id="home-1"/><node id="bus"/>
<edge source="server" target="home-0"/><edge source="home-0" target="home-1"/>
<edge source="server" target="bus"/>
</graph></graphml>
"""


def test_the_graphml_of_the_mistakes_below_is_right(build: Build, tmp_path: Path) -> None:
    (tmp_path / "a.graphml").write_text(XML)
    assert is_drawn(build("a.graphml"))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("a.edges", ("bus", "tram"), "{p}: the scenario has no node 'tram'; valid: bus, home-0"),
        ("a.edges", ("home-1", "hme-1"), "{p}: the scenario has no node 'hme-1'; did you mean"),
        ("a.edges", ("home-0 home-1\n", ""), "{p}: no node 'home-1'; add it and its edges"),
        (
            "a.edges",
            ("home-0 home-1\nserver bus", ""),
            "{p}: no node 'home-1' (and 1 more are missing); add it and its edges",
        ),
        ("a.edges", ("server bus", "bus bus"), "{p}:4: joins 'bus' to itself; remove it"),
        ("a.edges", ("server bus", "home-0 server"), "{p}:4: stands twice; remove one of the two"),
        ("a.edges", ("server bus", "server"), "{p}:4: one name; give two"),
        ("a.edges", (GOOD, ""), "{p}: no edges; give at least one"),
        ("a.edges", ("bus", "bus 0.5"), "{p}:4: '0.5' is no mapping; write e.g. "),
        (
            "a.adj",
            ("server bus", "bus"),
            "{p}: not joined to 'server', 'home-0', 'home-1': 'bus'; join them",
        ),
        ("a.adj", ("server bus", "bus bus"), "{p}:4: joins 'bus' to itself; remove it"),
        ("a.adj", ("server bus", "bus server server"), "{p}:4: 'server' stands twice; remove"),
        ("a.gml", ("", ""), "{p}: unknown graph format '.gml'; say format: graphml, json, edge_"),
        ("a.graphml", (XML[200:], ""), "{p}:3: not XML: unclosed token"),
        ("a.graphml", (XML, ""), "{p}:1: not XML: no element found"),
        ("a.graphml", (XML, "<svg/>"), "{p}: not GraphML: "),
        (
            "a.graphml",
            ('"undirected"', '"directed"'),
            "{p}: a directed graph; save it as an ",
        ),
        ("a.graphml", ('target="bus"', 'target="home-0"'), "{p}: edge server - home-0: "),
        ("a.graphml", ('"home-0"/><edge', '"server"/><edge'), "{p}: edge server - server: joins"),
        ("a.graphml", (' target="bus"', ""), "{p}: the scenario has no node 'None'"),
        ("a.graphml", ("/>\n</graph>", '><data key="w">3</data></edge></graph>'), "{p}: not Gra"),
    ],
)
def test_a_file_that_is_no_overlay(
    build: Build, tmp_path: Path, name: str, change: tuple[str, str], message: str
) -> None:
    text, path = (XML if name.endswith("graphml") else GOOD), tmp_path / name
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(OptionError) as error:
        build(name)
    assert error.value.option == "path"
    assert error.value.message.startswith(message.format(p=path))
    assert "\n" not in error.value.message


def test_files_that_cannot_be_read(build: Build, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file or directory; give a GraphML"):
        build("none.graphml")
    (tmp_path / "o.graphml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="not text; give a GraphML"):
        build("o.graphml")
    (tmp_path / "o.edges").mkdir()
    with pytest.raises(OptionError, match="Is a directory; give a GraphML"):
        build("o.edges")


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("{name: file}", "s.yaml:{n}: topology.path: missing; add this key"),
        ("{name: file, path: x.edges}", "s.yaml:{n}: topology.path: {p}/x.edges: No such file"),
        (
            "{name: file, path: o.adj}",
            "s.yaml:{n}: topology.path: {p}/o.adj: not joined to 'server', 'pi3-0', 'pi3-1': 'pi4'",
        ),
        ("{name: star, center: hub}", "s.yaml:{n}: topology.center: no node 'hub'; use 'server'"),
        (
            "{name: star_of_stars, hubs_are: [pi5]}",
            "s.yaml:{n}: topology.hubs_are.0: no device group or node 'pi5'; did you mean 'pi",
        ),
        ("{name: random_graph, joined: x}", "s.yaml:{n}: topology.joined: 'x' is not known here"),
    ],
)
def test_a_mistake_is_told_before_the_data_are_opened(
    scenario_text: str, tmp_path: Path, topology: str, message: str
) -> None:
    (tmp_path / "o.adj").write_text("server pi3-0 pi3-1\npi4\n")
    assert "topology: {name: star}" in scenario_text
    text = scenario_text.replace("topology: {name: star}", f"topology: {topology}")
    line = text[: text.index("topology:")].count("\n") + 1
    with pytest.raises(ScenarioError) as error:
        check(loads(text, "s.yaml", folder=tmp_path))
    assert str(error.value).startswith(message.format(n=line, p=tmp_path))
    assert "\n" not in str(error.value)


def test_paths_are_relative_to_the_scenario(scenario_text: str, tmp_path: Path) -> None:
    text = scenario_text.replace("{name: star}", "{name: file, path: o/o.edges}")
    (tmp_path / "s.yaml").write_text(text)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "o.edges").write_text("server pi3-0\npi3-0 pi3-1\npi3-1 pi4\n")
    overlay = check(load(tmp_path / "s.yaml")).overlay
    assert nx.shortest_path(overlay, "server", "pi4") == ["server", "pi3-0", "pi3-1", "pi4"]


@pytest.mark.slow
def test_the_smoke_scenario_talks_along_its_file_and_is_timed_anew(tmp_path: Path) -> None:
    trace = simfl.run(simfl.load("smoke/overlay"), out=tmp_path / "run.h5")
    assert trace.complete
    sent = trace.transfers.groupby(["source", "target"], observed=True).size()
    bull = [("pi3", "pi4-0"), ("pi4-0", "pi4-1"), ("pi4-1", "pi3"), ("pi3", "pi4-2")]
    ways = {way for a, b in [*bull, ("pi4-0", "pi4-3")] for way in ((a, b), (b, a))}
    assert set(sent.index) == ways
    assert set(sent) == {2}
    # the file is found from the recorded run, too
    points = simfl.whatif(trace.path, "platform.network.up=5 Mbit/s", train=False)
    assert points["time_s"][0] == trace.scores["time_s"].max()
