"""TCP flows that follow their windows, in closed form where there is one."""

from itertools import permutations
from math import inf
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_wires import Send, SmallWires, carrying, cell, duplex, fork, line, play, took_s

from simfl.cost.rate_trace import RateTrace
from simfl.cost.route import Route, route_of
from simfl.cost.transport import Transport
from simfl.cost.wires import Cell, Hop, Link

SEGMENT = 1448
RATE_BPS, LATENCY_S = 10e6, 0.05
# a packet of 1,500 bytes and its acknowledgement of 52, in Ethernet's frames
PACKET_S, REPLY_S = 1514 * 8 / RATE_BPS, 66 * 8 / RATE_BPS
RTT_S = 2 * LATENCY_S + PACKET_S + REPLY_S
GOODPUT = 1448 / 1514
# a window that stands from the first byte to the last, larger than any path here: a fluid
STANDING: dict[str, Any] = {
    "congestion_control": "bbr",
    "slow_start": False,
    "receive_window_bytes": 1000 * SEGMENT,
}


def route(wires: SmallWires, source: str, target: str) -> Route:
    path = wires.path(source, target)
    assert path is not None
    return route_of(wires.links, path, Transport())


@pytest.mark.parametrize(
    ("segments", "silent", "rest"),
    [(1, 0, 1), (10, 0, 10), (11, 1, 1), (30, 1, 20), (31, 2, 1), (70, 2, 40), (71, 3, 1)],
)
@pytest.mark.parametrize("setup", ["warm", "cold"])
def test_slow_start_on_an_empty_path(segments: int, silent: int, rest: int, setup: str) -> None:
    carries = carrying(line(RATE_BPS, 2 * LATENCY_S), connection_setup=setup)
    seconds = silent * RTT_S + rest * PACKET_S + LATENCY_S
    if setup == "cold":
        seconds += 2 * LATENCY_S + 2 * REPLY_S
    assert took_s(carries, segments * SEGMENT) == pytest.approx(seconds, abs=1e-9)


def test_without_headers_bits_are_bits() -> None:
    carries = carrying(line(RATE_BPS, 0.1), headers=False)
    assert took_s(carries, 5 * SEGMENT) == pytest.approx(5 * SEGMENT * 8 / RATE_BPS + 0.05)


def test_a_last_segment_is_stored_and_sent_on_behind_the_slowest_hop() -> None:
    wires = fork(RATE_BPS, [0.1])
    onward_s = 1514 * 8 / (100 * RATE_BPS)
    seconds = 3 * PACKET_S + onward_s + 0.05
    assert took_s(carrying(wires), 3 * SEGMENT, "server", "0") == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize("control", ["cubic", "reno"])
def test_a_long_flow_fills_a_link_whose_queue_holds_a_round_trip(control: str) -> None:
    queue_bytes = RATE_BPS * RTT_S / 8
    wires = line(RATE_BPS, 2 * LATENCY_S, queue_bytes=2 * queue_bytes)
    first_s, second_s = (
        took_s(carrying(wires, congestion_control=control), n * 50_000_000) for n in (1, 2)
    )
    seconds = 50_000_000 * 8 / (RATE_BPS * GOODPUT)
    assert second_s - first_s == pytest.approx(seconds, rel=0.01)
    assert first_s >= seconds + LATENCY_S


def test_a_receive_window_a_round_trip_and_no_more() -> None:
    wires = line(100e6, 0.1)
    rtt_s = 0.1 + (1514 + 66) * 8 / 100e6
    ten_s, forty_s = (
        took_s(carrying(wires, receive_window_bytes=100 * SEGMENT), rounds * 100 * SEGMENT)
        for rounds in (10, 40)
    )
    assert forty_s - ten_s == pytest.approx(30 * rtt_s, abs=1e-9)


def test_a_receive_window_below_the_initial_one_holds_from_the_start() -> None:
    carries = carrying(line(RATE_BPS, 2 * LATENCY_S), receive_window_bytes=5 * SEGMENT)
    seconds = 3 * RTT_S + 5 * PACKET_S + LATENCY_S
    assert took_s(carries, 20 * SEGMENT) == pytest.approx(seconds, abs=1e-9)


def test_a_rate_that_changes_and_an_outage_in_mid_flow() -> None:
    trace = RateTrace([0.0, 1.0, 3.0], [10e6, 0.0, 5e6])
    wires = line(10e6, 0.02, trace=trace)
    bits = 12.5e6
    seconds = 3.0 + (bits - 10e6) / 5e6 + 0.01
    nbytes = round(bits * GOODPUT / 8)
    assert took_s(carrying(wires, **STANDING), nbytes) == pytest.approx(seconds, abs=1e-6)
    # begun in the outage, it waits
    [end_s] = play(carrying(wires, **STANDING), [Send(1.5, "a", "b", nbytes)])
    assert end_s == pytest.approx(3.0 + bits / 5e6 + 0.01, abs=1e-6)


def test_a_real_window_stalls_in_an_outage_and_goes_on() -> None:
    trace = RateTrace([0.0, 1.0, 61.0], [10e6, 0.0, 10e6])
    still_s, plain_s = (
        took_s(carrying(line(10e6, 0.02, trace=it)), 3_000_000) for it in (trace, None)
    )
    assert still_s == pytest.approx(plain_s + 60.0, abs=0.1)


def test_acknowledgements_of_a_download_slow_an_upload_by_what_they_weigh() -> None:
    # fq_codel: they do not wait in the upload's queue
    down, up = (
        Link(name=name, rate_bps=rate_bps, latency_s=0.005, discipline="fq_codel")
        for name, rate_bps in (("down", 50e6), ("up", 2e6))
    )
    wires = duplex(down, up)
    weight = 0.5 * 66 / 1448
    # the rates at which both links are full: r / goodput + weight * other = capacity
    upload_bps = (2e6 - weight * GOODPUT * 50e6) / (1 / GOODPUT - weight**2 * GOODPUT)
    sends = [Send(0.0, "a", "b", 100_000_000), Send(0.0, "b", "a", 1_000_000)]
    found_s = play(carrying(wires, **STANDING), sends)[1]
    assert found_s == pytest.approx(8e6 / upload_bps, rel=0.02)
    spared_s = play(carrying(wires, **STANDING, acknowledgements=False), sends)[1]
    assert spared_s == pytest.approx(8e6 / (2e6 * GOODPUT), rel=0.01)


@pytest.mark.parametrize("control", ["cubic", "reno"])
def test_random_loss_slows_as_its_root(control: str) -> None:
    def typical_s(loss: float) -> float:
        wires = line(20e6, 0.05, loss=loss)
        carries = [carrying(wires, congestion_control=control, seed=seed) for seed in range(15)]
        return median(took_s(one, 10_000_000) for one in carries)

    none_s, some_s, much_s = (typical_s(loss) for loss in (0.0, 0.0025, 0.01))
    assert none_s < some_s < much_s
    # Mathis et al.: sqrt(3 / 2 p) segments a round trip
    rtt_s = 0.05 + 1580 * 8 / 20e6
    expected_s = 10_000_000 / SEGMENT * rtt_s / (1.5 / 0.01) ** 0.5
    assert much_s == pytest.approx(expected_s, rel=0.2)


def test_bbr_does_not_answer_to_loss() -> None:
    clean_s, lossy_s = (
        took_s(carrying(line(20e6, 0.05, loss=loss), congestion_control="bbr"), 5_000_000)
        for loss in (0.0, 0.01)
    )
    assert clean_s == lossy_s


def test_loss_can_be_left_out() -> None:
    clean_s, spared_s = (
        took_s(carrying(line(20e6, 0.05, loss=loss), loss=False), 5_000_000) for loss in (0, 0.01)
    )
    assert clean_s == spared_s


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_equal_flows_come_to_share_alike(seed: int) -> None:
    carries = carrying(fork(RATE_BPS, [0.02, 0.02]), seed=seed)
    size = 60_000_000
    ends = play(carries, [Send(0.0, "server", to, size) for to in "01"])
    both_s = 2 * size * 8 / (RATE_BPS * GOODPUT)
    assert max(ends) == pytest.approx(both_s, rel=0.02)
    # whoever was first had between 50 and 60 %
    assert min(ends) > both_s / 2 / 0.6


def test_standing_windows_share_a_queue_by_what_they_have_in_it() -> None:
    sends = [Send(0.0, "server", to, 10_000_000) for to in "01"]
    near_s, far_s = play(carrying(fork(RATE_BPS, [0.02, 0.5]), **STANDING), sends)
    assert far_s > 1.15 * near_s


def test_fq_codel_shares_equally_whatever_the_windows() -> None:
    wires = fork(RATE_BPS, [0.02, 0.5], discipline="fq_codel")
    sends = [Send(0.0, "server", to, 10_000_000) for to in "01"]
    near_s, far_s = play(carrying(wires, **STANDING), sends)
    assert near_s == pytest.approx(2 * 8e7 / (RATE_BPS * GOODPUT), rel=0.01)
    # the last byte has a longer way
    assert far_s - 0.25 == pytest.approx(near_s - 0.01, rel=1e-3)


def test_a_queue_of_ones_own_elsewhere_changes_no_share() -> None:
    plain, mixed = fork(RATE_BPS, [0.02, 0.02]), fork(RATE_BPS, [0.02, 0.02])
    mixed.links = [
        Link(
            name=link.name,
            rate_bps=link.rate_bps,
            latency_s=link.latency_s,
            discipline="fq_codel" if link.name == "0-down" else "drop_tail",
        )
        for link in mixed.links
    ]
    sends = [Send(0.0, "server", to, 10_000_000) for to in "01"]
    assert play(carrying(mixed), sends) == play(carrying(plain), sends)


AIR_BPS = 20e6


def air_s(wires: SmallWires, source: str, target: str, nbytes: int) -> float:
    """Seconds of air that a message and its acknowledgements take."""
    path, its = wires.path(source, target), route(wires, source, target)
    assert path is not None
    used = [*zip(path.out, its.usage, strict=True), *zip(path.back, its.back_usage, strict=True)]
    return 8 * nbytes * sum(share for hop, share in used if wires.links[hop.link].cell)


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param([("0", "server"), ("1", "server")], id="uploads"),
        pytest.param([("0", "server"), ("server", "1")], id="one each way"),
        pytest.param([("0", "1"), ("2", "server")], id="to a station"),
    ],
)
def test_the_air_is_granted_to_queues_in_turn(ways: list[tuple[str, str]]) -> None:
    # the first station is four times as slow, and gets the same throughput as the others
    wires = cell([AIR_BPS / 4, AIR_BPS, AIR_BPS], access_s=100e-6, aggregation=8)
    size = 5_000_000
    ends = play(carrying(wires, **STANDING), [Send(0.0, *way, size) for way in ways])
    busy_s = sum(air_s(wires, *way, size) for way in ways)
    assert ends == pytest.approx([busy_s] * 2, rel=0.02)


def test_by_air_and_by_wire_alike_behind_a_thin_link() -> None:
    air = Cell(station_bps=[100e6], access_s=100e-6, aggregation=16)
    links = [
        Link(name="down", rate_bps=RATE_BPS, latency_s=0.01),
        Link(name="up", rate_bps=RATE_BPS, latency_s=0.01),
        Link(name="air", rate_bps=0.0, cell=air),
        Link(name="wire-down", rate_bps=100e6),
        Link(name="wire-up", rate_bps=100e6),
    ]
    hops = {
        ("server", "air"): (Hop(0), Hop(2, 0)),
        ("air", "server"): (Hop(2, 0), Hop(1)),
        ("server", "wire"): (Hop(0), Hop(3)),
        ("wire", "server"): (Hop(4), Hop(1)),
    }
    sends = [Send(0.0, "server", to, 10_000_000) for to in ("air", "wire")]
    by_air_s, by_wire_s = play(carrying(SmallWires(links, hops), **STANDING), sends)
    assert by_wire_s == pytest.approx(by_air_s, rel=0.05)


LOSSY = {"loss": 0.003}


def crowd() -> tuple[SmallWires, list[Send]]:
    wires = fork(20e6, [0.02, 0.05, 0.1], **LOSSY)
    sends = [
        Send(0.0, "server", "0", 800_000),
        Send(0.0, "server", "1", 600_000),
        Send(0.0, "2", "server", 500_000),
        Send(0.2, "server", "2", 700_000, until_s=0.35),
    ]
    return wires, sends


def test_one_seed_one_course() -> None:
    wires, sends = crowd()
    first, again = (play(carrying(wires, seed=7), sends) for _ in range(2))
    assert first == again
    assert any(play(carrying(wires, seed=seed), sends) != first for seed in range(8, 12))


@pytest.mark.parametrize("order", list(permutations(range(4)))[1::4])
def test_the_order_of_simultaneous_starts_does_not_matter(order: tuple[int, ...]) -> None:
    wires, sends = crowd()
    straight = play(carrying(wires), sends)
    shuffled = play(carrying(wires), [sends[i] for i in order])
    assert shuffled == [straight[i] for i in order]


@given(st.lists(st.floats(0, 3), max_size=30), st.integers(0, 3))
def test_looking_ahead_changes_nothing(looks_s: list[float], seed: int) -> None:
    wires, sends = crowd()
    plain = play(carrying(wires, seed=seed), sends)
    looked = play(carrying(wires, seed=seed), sends, looks_s)
    assert looked == pytest.approx(plain, abs=1e-9, rel=0)


@pytest.mark.parametrize("trace", [None, RateTrace([0.0, 0.15, 0.25], [50e6, 0.0, 50e6])])
def test_nor_does_it_in_a_crowd_whose_round_trips_are_played_in_batches(
    trace: RateTrace | None,
) -> None:
    wires = fork(50e6, [0.02 + 0.001 * number for number in range(60)], trace=trace)
    sends = [Send(0.0, "server", str(number), 50_000) for number in range(60)]
    plain = play(carrying(wires), sends)
    assert play(carrying(wires), sends, [0.003, 0.1, 0.10001, 0.2, 0.3]) == pytest.approx(
        plain, abs=1e-9, rel=0
    )


@pytest.mark.parametrize("step_s", [0.1, 0.001])
def test_neither_does_a_clock_that_goes_in_small_steps(step_s: float) -> None:
    wires, sends = crowd()
    plain = play(carrying(wires), sends)
    steps_s = [number * step_s for number in range(round(max(plain[:3]) / step_s) + 2)]
    assert play(carrying(wires), sends, steps_s) == pytest.approx(plain, abs=1e-9, rel=0)


def test_a_cut_flow_gives_its_share_back() -> None:
    carries = carrying(fork(RATE_BPS, [0.02, 0.02]), **STANDING)
    size = 5_000_000
    kept_s, cut_s = play(
        carries, [Send(0.0, "server", "0", size), Send(0.0, "server", "1", size, until_s=2.0)]
    )
    # half the link until 2 s, all of it from then on
    assert kept_s == pytest.approx(1.0 + size * 8 / (RATE_BPS * GOODPUT) + 0.01, rel=0.01)
    assert cut_s == inf


def test_a_cut_flow_leaves_nothing_in_the_queue() -> None:
    size = 300_000
    wires = fork(RATE_BPS, [0.02])
    alone_s = took_s(carrying(wires), size, "server", "0")
    sends = [Send(0.0, "server", "0", 10**8, until_s=3.0), Send(10.0, "server", "0", size)]
    assert play(carrying(wires), sends)[1] - 10.0 == pytest.approx(alone_s, abs=1e-9)
    # nor, at once, does it hold what comes right after it
    sends = [Send(0.0, "server", "0", 10**8, until_s=3.0), Send(3.0, "server", "0", size)]
    assert play(carrying(wires), sends)[1] - 3.0 == pytest.approx(alone_s, abs=1e-9)


def test_flows_that_do_not_meet_do_not_matter_to_each_other() -> None:
    # links of their own; the second's events must not disturb the first
    links = [Link(name=name, rate_bps=RATE_BPS, latency_s=0.01, loss=0.002) for name in "abcd"]
    hops = {("a", "b"): (Hop(0),), ("b", "a"): (Hop(1),)}
    hops |= {("c", "d"): (Hop(2),), ("d", "c"): (Hop(3),)}
    wires = SmallWires(links, hops)
    alone_s = took_s(carrying(wires), 2_000_000)
    sends = [Send(0.0, "a", "b", 2_000_000)]
    sends += [Send(0.05 * n, "c", "d", 30_000, until_s=0.05 * n + 0.04) for n in range(30)]
    assert play(carrying(wires), sends)[0] == pytest.approx(alone_s, abs=1e-9)
