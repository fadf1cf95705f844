"""Max-min fair flows, with TCP's effects as time before they begin."""

from math import inf

import pytest
from small_wires import Send, carrying, cell, duplex, fork, line, play, sums, took_s

from simfl.cost.carrier import Carrier
from simfl.cost.carriers import carrier
from simfl.cost.fair_carrier import FairCarrier
from simfl.cost.framing import Framing
from simfl.cost.rate_trace import RateTrace
from simfl.cost.transport import FLUID, Transport
from simfl.cost.window_carrier import WindowCarrier
from simfl.cost.wires import Link

GOODPUT = 1448 / 1514


def at(*seconds: float) -> object:
    return pytest.approx(list(seconds), abs=1e-9, rel=0)


def fluid(*links: Link) -> Carrier:
    return carrier(duplex(*links), FLUID, seed=1, senders=2)


def test_a_fluid_is_its_bits_after_the_latency() -> None:
    ways = [Link(name=name, rate_bps=8e6, latency_s=0.1) for name in ("down", "up")]
    assert took_s(fluid(*ways), 1_000_000) == pytest.approx(1.1, abs=1e-9)
    assert took_s(fluid(*ways), 0) == pytest.approx(0.1, abs=1e-9)


def test_tcp_pays_headers_slow_start_and_set_up() -> None:
    rate_bps, rtt_s = 10e6, 0.1 + (1514 + 66) * 8 / 10e6
    # silent after windows of 10, 20, 40 and 80 segments: a round trip holds 83.6
    lost_s = 4 * rtt_s - (10 + 20 + 40 + 80) * 1514 * 8 / rate_bps
    wires = line(rate_bps, 0.1)
    warm_s = took_s(carrying(wires, windows=False), 5_000_000)
    assert warm_s == pytest.approx(0.05 + lost_s + 4e7 / (rate_bps * GOODPUT), abs=1e-9)
    cold = carrying(wires, windows=False, connection_setup="cold")
    setup_s = 0.1 + 2 * 66 * 8 / rate_bps
    assert took_s(cold, 5_000_000) == pytest.approx(warm_s + setup_s, abs=1e-9)
    at_once = carrying(wires, windows=False, slow_start=False)
    assert took_s(at_once, 5_000_000) == pytest.approx(0.05 + 4e7 / (rate_bps * GOODPUT), abs=1e-9)


def test_a_receive_window_caps_a_flow_and_leaves_the_rest() -> None:
    wires = fork(10e6, [0.1, 0.02])
    limits = {"windows": False, "slow_start": False, "receive_window_bytes": 12_500}
    rtt_s = 0.1 + (1514 + 66) * 8 * (1 / 10e6 + 1 / 1e9)
    alone_s = took_s(carrying(wires, **limits), 1_000_000, "server", "0")
    latency_s = 0.05
    assert alone_s == pytest.approx(latency_s + 8e6 / (1e5 / rtt_s), rel=1e-9)
    sends = [Send(0.0, "server", to, 1_000_000) for to in "01"]
    assert play(carrying(wires, **limits), sends)[0] == pytest.approx(alone_s, rel=1e-9)


def test_a_window_bound_without_a_link_that_limits() -> None:
    # 10 windows a second; slow start is paid against the bound, not against the endless link
    carries = carrying(line(inf, 0.1), windows=False, receive_window_bytes=1448 * 100)
    nbytes = 1448 * 1000
    lost_s = sum(0.1 - window / 1000 for window in (10, 20, 40, 80))
    assert took_s(carries, nbytes) == pytest.approx(0.05 + lost_s + 1.0, rel=1e-6)


def test_shares_by_the_inverse_of_the_round_trip() -> None:
    wires = fork(10e6, [0.02, 0.06])
    sends = [Send(0.0, "server", to, 3_000_000) for to in "01"]
    said = {"windows": False, "slow_start": False, "headers": False, "acknowledgements": False}
    near_s, far_s = play(carrying(wires, weighted_by_rtt=True, **said), sends)
    own_s = [rtt_s + 1514 * 8 * (1 / 10e6 + 1 / 1e9) for rtt_s in (0.02, 0.06)]
    share = own_s[1] / sum(own_s)
    # three quarters of the link, nearly, counted from when the second joins
    before = (0.03 - 0.01) * 10e6
    assert near_s == pytest.approx(0.03 + (24e6 - before) / (10e6 * share), rel=0.01)
    assert far_s == pytest.approx(0.01 + 4.8, rel=1e-3)


def test_a_cell_is_crossed_at_the_stations_rate_and_twice_between_two() -> None:
    carries = carrier(cell([10e6, 40e6], wan_s=0.0), FLUID, seed=1, senders=3)
    assert play(carries, [Send(0.0, "server", "0", 1_250_000)]) == at(1.0)
    carries = carrier(cell([10e6, 40e6], wan_s=0.0), FLUID, seed=1, senders=3)
    assert play(carries, [Send(0.0, "0", "1", 1_250_000)]) == at(1.25)


def test_rates_change_also_while_nobody_sends() -> None:
    trace = RateTrace([0.0, 2.0, 3.0], [8e6, 1e6, 4e6])
    down = Link(name="down", rate_bps=8e6, trace=trace)
    carries = fluid(down, Link(name="up", rate_bps=1e6))
    sends = [Send(0.0, "a", "b", 500_000), Send(2.5, "a", "b", 562_500)]
    assert play(carries, sends) == at(0.5, 4.0)
    assert sums(carries, 4.0) == [(8.5e6, pytest.approx(8.5e6, rel=1e-12))]


def test_framing_and_writing_come_on_top() -> None:
    link = {"rate_bps": 8e6}
    wires = duplex(Link(name="down", **link), Link(name="up", **link))
    framing = Framing.model_validate({"kind": "grpc", "serialisation": "2 MB/s"})
    carries = carrier(wires, FLUID, framing, seed=1, senders=2)
    assert took_s(carries, 1_000_000) == pytest.approx(0.5 + 1.000567, abs=1e-9)


def test_a_large_crowd_does_not_follow_windows_unless_told() -> None:
    wires = line(10e6, 0.1)
    few, many = (carrier(wires, Transport(), seed=1, senders=n) for n in (2, 100_000))
    told = carrier(wires, Transport(windows=True), seed=1, senders=100_000)
    assert isinstance(few, WindowCarrier)
    assert isinstance(told, WindowCarrier)
    assert isinstance(many, FairCarrier)
    assert isinstance(carrier(wires, FLUID, seed=1, senders=2), FairCarrier)


def test_a_lossy_link_that_begins_in_an_outage() -> None:
    trace = RateTrace([0.0, 1.0], [0.0, 8e6])
    down = Link(name="down", rate_bps=8e6, latency_s=0.01, loss=0.02, trace=trace)
    up = Link(name="up", rate_bps=8e6, latency_s=0.01)
    carries = carrier(duplex(down, up), Transport(windows=False), seed=1, senders=2)
    # 69 segments: 35 before the first loss
    assert 1.1 < took_s(carries, 100_000) < 1.5


def test_handling_is_charged_on_ideal_links_too() -> None:
    ways = [Link(name=name, rate_bps=8e6, latency_s=0.1) for name in ("down", "up")]
    handled = Framing.model_validate({"kind": "none", "handling": "250 ms"})
    carries = carrier(duplex(*ways), FLUID, handled, seed=1, senders=2)
    assert took_s(carries, 1_000_000) == pytest.approx(1.35, abs=1e-9)
