import pytest

from simfl.cost.route import route_of
from simfl.cost.transport import FLUID, Transport
from simfl.cost.wires import Cell, Hop, Link, Path

# two stations of a cell, and a server by wire
AIR = Link(
    name="air",
    rate_bps=0.0,
    latency_s=0.001,
    overhead_bytes=42,
    loss=0.1,
    cell=Cell(station_bps=[10e6, 40e6], access_s=100e-6, aggregation=4),
)
DOWN = Link(name="down", rate_bps=8e6, latency_s=0.01, overhead_bytes=38, loss=0.2)
UP = Link(name="up", rate_bps=2e6, latency_s=0.02, overhead_bytes=38)
LINKS = [AIR, DOWN, UP]
TO_A = Path((Hop(1), Hop(0, 0)), (Hop(0, 0), Hop(2)))
FROM_B = Path((Hop(0, 1), Hop(2)), (Hop(1), Hop(0, 1)))
A_TO_B = Path((Hop(0, 0), Hop(0, 1)), (Hop(0, 1), Hop(0, 0)))


def test_headers_take_their_share_of_wire_and_air() -> None:
    route = route_of(LINKS, TO_A, Transport())
    # of the air: a packet of 1,542 bytes at 10 Mbit/s, and a quarter of a channel access
    assert route.usage == pytest.approx(
        (1538 / 1448, (1542 * 8 / 10e6 + 25e-6) / (8 * 1448)), rel=1e-12
    )
    bare = route_of(LINKS, TO_A, Transport(headers=False))
    assert bare.usage == pytest.approx((1.0, (1448 * 8 / 10e6 + 25e-6) / (8 * 1448)), rel=1e-12)
    assert route_of(LINKS, TO_A, FLUID).usage == bare.usage


def test_every_second_segment_is_acknowledged() -> None:
    # to two segments one packet of 52 bytes: of the air 94 bytes, and one access for four segments
    back = route_of(LINKS, TO_A, Transport()).back_usage
    air_s = (94 * 8 / 10e6 + 100e-6 / 2) / 2
    assert back == pytest.approx((air_s / (8 * 1448), 45 / 1448), rel=1e-12)
    for none in (Transport(acknowledgements=False), FLUID):
        assert route_of(LINKS, TO_A, none).back_usage == (0.0, 0.0)


def test_a_round_trip_is_latency_and_a_packets_own_time_on_every_hop() -> None:
    route = route_of(LINKS, FROM_B, Transport())
    alone_s = (1542 * 8 / 40e6 + 100e-6, 1538 * 8 / 2e6)
    replies_s = 90 * 8 / 8e6 + 94 * 8 / 40e6 + 100e-6
    assert route.rtt_s == pytest.approx(0.021 + 0.011 + sum(alone_s) + replies_s, rel=1e-12)
    # behind the slowest hop the last segment is still stored and sent on by the other
    assert route.out_s == pytest.approx(0.021 + alone_s[0], rel=1e-12)


def test_a_handshake_takes_a_round_trip_of_bare_packets() -> None:
    route = route_of([DOWN], Path((Hop(0),), (Hop(0),)), Transport())
    assert route.setup_s == pytest.approx(0.02 + 2 * 90 * 8 / 8e6, rel=1e-12)


def test_a_segment_must_survive_every_hop() -> None:
    assert route_of(LINKS, TO_A, Transport()).loss == pytest.approx(1 - 0.8 * 0.9, rel=1e-12)
    assert route_of(LINKS, A_TO_B, Transport()).loss == pytest.approx(1 - 0.9**2, rel=1e-12)


def test_between_two_stations_the_air_is_used_at_both_their_rates() -> None:
    usage = route_of(LINKS, A_TO_B, Transport(kind="fluid")).usage
    access_s = 25e-6 / (8 * 1448)
    assert usage == pytest.approx((1e-7 + access_s, 2.5e-8 + access_s), rel=1e-12)


def test_what_leaves_the_narrowest_hop_together() -> None:
    assert route_of(LINKS, TO_A, Transport()).burst == 4.0
    assert route_of([DOWN], Path((Hop(0),), (Hop(0),)), Transport()).burst == 2.0
