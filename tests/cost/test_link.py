import networkx as nx
import pytest
from simfl.cost.link import WiresModel

from simfl.cost.rate_trace import RateTrace
from simfl.cost.transport import Transport
from simfl.cost.wires import Cell, Link
from simfl.networks.base import join
from simfl.networks.routes import GraphWires


def model(transport: Transport) -> WiresModel:
    """Two stations of a cell, and a server by wire."""
    cell = Cell(station_bps=[10e6, 40e6], access_s=100e-6, aggregation=4)
    air = Link(name="air", rate_bps=40e6, latency_s=0.001, overhead_bytes=42, cell=cell)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for station, node in enumerate("ab"):
        graph.add_edge(node, "(cell)", link=air, station=station)
        graph.add_edge("(cell)", node, link=air, station=station)
    down = Link(name="down", rate_bps=float("inf"), latency_s=0.01)
    trace = RateTrace([0.0, 2.0], [8e6, 1e6])
    up = Link(name="up", rate_bps=8e6, latency_s=0.02, overhead_bytes=38, trace=trace)
    join(graph, "server", "(cell)", down, up)
    return WiresModel(GraphWires(graph), transport)


@pytest.mark.parametrize(
    ("source", "target", "airtime_s"),
    [("server", "a", 1e-7), ("b", "server", 2.5e-8), ("a", "b", 1.25e-7)],
)
def test_airtime_of_an_ideal_bit(source: str, target: str, airtime_s: float) -> None:
    access_s = 100e-6 / (8 * 4 * 1448)
    times = 2 if "server" not in (source, target) else 1
    route = model(Transport(kind="fluid")).route(source, target)
    assert route is not None
    assert route[0] == pytest.approx(airtime_s + times * access_s, rel=1e-12)


def test_headers_take_their_share_of_air_and_wire() -> None:
    route = model(Transport()).route("server", "a")
    # a full access: 100 us, and four packets of 1,542 bytes for four payloads of 1,448
    air_s = (100e-6 + 4 * 1542 * 8 / 10e6) / (4 * 1448 * 8)
    assert route == {0: pytest.approx(air_s, rel=1e-12), 2: pytest.approx(1538 / 1448, rel=1e-12)}
    bare = model(Transport(headers=False)).route("server", "a")
    assert bare is not None
    assert bare[2] == 1.0


def test_latencies_add_up_and_what_has_no_limit_is_left_out() -> None:
    found = model(Transport())
    assert found.delay_s("server", "a", 10) == pytest.approx(0.021, rel=1e-12)
    assert found.delay_s("a", "server", 10) == pytest.approx(0.011, rel=1e-12)
    assert found.delay_s("a", "b", 10) == pytest.approx(0.002, rel=1e-12)
    assert found.route("a", "server") is not None
    assert set(found.route("a", "server") or {}) == {0}


@pytest.mark.parametrize(("source", "target"), [("a", "a"), ("a", "x"), ("x", "server")])
def test_no_way(source: str, target: str) -> None:
    assert model(Transport()).route(source, target) is None


def test_capacities_over_time() -> None:
    found = model(Transport())
    assert found.capacity_at(0.0) == {0: 1.0, 2: 8e6}
    assert found.capacity_at(2.0) == {0: 1.0, 2: 1e6}
    assert (found.next_change_s(0.0), found.next_change_s(2.0)) == (2.0, float("inf"))
