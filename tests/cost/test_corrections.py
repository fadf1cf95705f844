from dataclasses import replace
from math import inf, log, sqrt

import pytest

from simfl.cost.corrections import message_bound_bps, rate_bound_bps, slow_start_s
from simfl.cost.route import Route
from simfl.cost.transport import Transport

TCP = Transport()
SEGMENT_BITS = 8.0 * TCP.mss_bytes
ROUTE = Route(
    usage=(1.0,), back_usage=(0.0,), rtt_s=0.1, setup_s=0.1, out_s=0.05, loss=0.0, burst=2.0
)


@pytest.mark.parametrize(
    ("segments", "silent"),
    [(1, []), (10, []), (11, [10]), (30, [10]), (31, [10, 20]), (70, [10, 20])],
)
def test_after_each_window_the_path_is_silent_for_the_rest_of_the_round(
    segments: int, silent: list[int]
) -> None:
    lost_s = sum(0.1 - window * SEGMENT_BITS / 1e9 for window in silent)
    assert slow_start_s(segments * SEGMENT_BITS, 1e9, 0.1, TCP) == pytest.approx(lost_s, abs=1e-12)


def test_a_window_that_fills_the_round_trip_is_the_last_silent_one() -> None:
    # 8 Mbit/s and 50 ms hold 34.5 segments: silent after 10 and 20, however much follows
    rtt_s = 0.05
    lost_s = sum(rtt_s - window * SEGMENT_BITS / 8e6 for window in (10, 20))
    for megabytes in (1, 100):
        found_s = slow_start_s(megabytes * 8e6, 8e6, rtt_s, TCP)
        assert found_s == pytest.approx(lost_s, rel=1e-12)


def test_a_receive_window_ends_slow_start() -> None:
    narrow = Transport(receive_window_bytes=20 * 1448)
    assert slow_start_s(1e8, 1e9, 0.1, narrow) == pytest.approx(0.1 - 10 * SEGMENT_BITS / 1e9)


@pytest.mark.parametrize(
    ("rate_bps", "rtt_s", "transport"),
    [(1e6, 0.0, TCP), (0.0, 0.1, TCP), (1e9, 0.1, Transport(slow_start=False))],
)
def test_nothing_is_lost(rate_bps: float, rtt_s: float, transport: Transport) -> None:
    assert slow_start_s(1e9, rate_bps, rtt_s, transport) == 0.0


def test_no_more_than_a_receive_window_a_round_trip() -> None:
    narrow = Transport(receive_window_bytes=100_000)
    assert rate_bound_bps(ROUTE, narrow) == pytest.approx(8e5 / 0.1, rel=1e-12)
    assert rate_bound_bps(replace(ROUTE, rtt_s=0.0), narrow) == inf


@pytest.mark.parametrize("loss", [1e-4, 1e-3, 1e-2])
def test_random_loss_bounds_the_rate(loss: float) -> None:
    lossy = replace(ROUTE, loss=loss)
    # Mathis et al. (1997): MSS / RTT sqrt(3 / 2 p)
    reno_bps = SEGMENT_BITS / 0.1 * sqrt(1.5 / loss)
    assert rate_bound_bps(lossy, Transport(congestion_control="reno")) == pytest.approx(reno_bps)
    # RFC 9438, section 5.1, figure 5 (beta 0.7): 1.054 RTT^0.75 / p^0.75 segments, or as Reno
    cubic_bps = SEGMENT_BITS / 0.1 * max(1.054 * (0.1 / loss) ** 0.75, sqrt(1.5 / loss))
    assert rate_bound_bps(lossy, TCP) == pytest.approx(cubic_bps, rel=0.01)


@pytest.mark.parametrize("spared", [{"congestion_control": "bbr"}, {"loss": False}])
def test_who_does_not_answer_to_loss(spared: dict[str, object]) -> None:
    transport = Transport.model_validate(spared)
    lossy = replace(ROUTE, loss=0.01)
    assert rate_bound_bps(lossy, transport) == rate_bound_bps(ROUTE, TCP)


def test_a_message_that_ends_before_its_first_loss_knows_of_none() -> None:
    lossy = replace(ROUTE, loss=0.01)
    # ln 2 / p: 69.3 segments
    assert message_bound_bps(69 * SEGMENT_BITS, 1e7, lossy, TCP) == rate_bound_bps(ROUTE, TCP)
    # as many again are sent at the rate under loss
    bits, slow_bps = 2 * log(2) / 0.01 * SEGMENT_BITS, rate_bound_bps(lossy, TCP)
    mean_bps = bits / (bits / 2 / 1e7 + bits / 2 / slow_bps)
    assert message_bound_bps(bits, 1e7, lossy, TCP) == pytest.approx(mean_bps, rel=1e-12)
    assert message_bound_bps(1e15, 1e7, lossy, TCP) == pytest.approx(slow_bps, rel=1e-6)


def test_who_does_not_answer_to_loss_is_not_bound_by_it() -> None:
    bbr = Transport(congestion_control="bbr")
    bound_bps = message_bound_bps(1e12, 1e7, replace(ROUTE, loss=0.01), bbr)
    assert bound_bps == rate_bound_bps(ROUTE, bbr)
