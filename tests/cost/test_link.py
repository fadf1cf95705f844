import pytest

from simfl.cost.link import AccessLinksModel, SharedMediumModel

AIR = SharedMediumModel(rates_bps={"a": 10e6, "b": 40e6}, exchange_overhead_s=0.45)
WIRES = AccessLinksModel(
    down_bps={"a": 8e6, "server": 100e6},
    up_bps={"a": 2e6},
    latency_s=0.02,
    places=frozenset({"server", "a", "b"}),
)


@pytest.mark.parametrize(
    ("source", "target", "airtime"),
    [
        ("server", "a", 1e-7),
        ("a", "server", 1e-7),
        ("b", "server", 2.5e-8),
        ("a", "b", 1.25e-7),  # through the access point: twice on the air
    ],
)
def test_airtime_of_a_bit(source: str, target: str, airtime: float) -> None:
    assert AIR.route(source, target) == {"air": pytest.approx(airtime, rel=1e-12)}
    assert AIR.delay_s(source, target) == 0.225


@pytest.mark.parametrize(
    ("source", "target"), [("a", "a"), ("server", "server"), ("a", "x"), ("x", "server")]
)
def test_no_way(source: str, target: str) -> None:
    assert AIR.route(source, target) is None
    assert WIRES.route(source, target) is None


def test_the_air_is_one_resource() -> None:
    assert AIR.capacity == {"air": 1.0}


def test_every_limited_link_is_a_resource() -> None:
    assert WIRES.capacity == {("down", "a"): 8e6, ("down", "server"): 100e6, ("up", "a"): 2e6}


@pytest.mark.parametrize(
    ("source", "target", "links"),
    [
        ("server", "a", {("down", "a")}),
        ("a", "server", {("up", "a"), ("down", "server")}),
        ("server", "b", set()),
        ("b", "a", {("down", "a")}),
    ],
)
def test_up_from_the_source_and_down_to_the_target(
    source: str, target: str, links: set[tuple[str, str]]
) -> None:
    route = WIRES.route(source, target)
    assert route == dict.fromkeys(links, 1.0)
    assert set(route) <= set(WIRES.capacity)
    assert WIRES.delay_s(source, target) == 0.02
