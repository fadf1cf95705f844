"""What TCP adds to a fluid, in closed form: for flows that do not follow their windows."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log, sqrt

from simfl.cost.route import Route
from simfl.cost.transport import Transport


def slow_start_s(bits: float, rate_bps: float, rtt_s: float, transport: Transport) -> float:
    """Seconds that a transfer alone on its path loses because its window begins small.

    Each round trip carries twice the window of the one before, until a window fills the round
    trip: after k silent rounds the rest flows at the path's rate (RFC 5681, section 3.1; Cardwell,
    Savage and Anderson, Modeling TCP Latency, INFOCOM 2000, eq. 15, without losses).

    >>> two = Transport(initial_window=1, mss_bytes=1000)
    >>> slow_start_s(3 * 8000, 8e6, 0.1, two)  # one segment, then two: silent for 99 ms
    0.099
    """
    if not transport.slow_start or rtt_s <= 0 or rate_bps <= 0:
        return 0.0
    window_bits, lost_s = 8.0 * transport.mss_bytes * transport.initial_window, 0.0
    limit_bits = 8.0 * transport.receive_window_bytes
    while bits > window_bits and window_bits < rate_bps * rtt_s and window_bits < limit_bits:
        lost_s += rtt_s - window_bits / rate_bps
        bits -= window_bits
        window_bits *= 2
    return lost_s


def rate_bound_bps(route: Route, transport: Transport) -> float:
    """What a receive window and random loss let through, whatever the links could.

    A window a round trip (RFC 9293, section 3.8.6). Under a loss rate of p Reno holds
    sqrt(3 / 2 p) segments (Mathis et al., CCR 27(3), 1997), CUBIC at least that many and
    (C (3 + beta) / (4 (1 - beta)))^(1/4) (T / p)^(3/4) (RFC 9438, section 5.1, with beta the
    factor of decrease); BBR does not answer to losses.
    """
    if route.rtt_s <= 0:
        return inf
    window = transport.receive_window_bytes / transport.mss_bytes
    if transport.loss and route.loss > 0 and transport.congestion_control != "bbr":
        held = sqrt(1.5 / route.loss)
        if transport.congestion_control == "cubic":
            beta = 717 / 1024
            factor = (0.4 * (3 + beta) / (4 * (1 - beta))) ** 0.25
            held = max(held, factor * (route.rtt_s / route.loss) ** 0.75)
        window = min(window, held)
    return 8.0 * transport.mss_bytes * window / route.rtt_s


def message_bound_bps(bits: float, rate_bps: float, route: Route, transport: Transport) -> float:
    """What random loss lets through of one message, in the mean over its bits.

    Until its first loss, after ln 2 / p segments in the median, it knows of none; from then on
    `rate_bound_bps` holds (Cardwell et al., INFOCOM 2000, split a transfer likewise).

    Args:
        bits: of the message.
        rate_bps: of the path while nobody else is on it.
        route: with the chance of a loss.
        transport: whether and how it answers.

    >>> lossy = Route((1.0,), (0.0,), rtt_s=0.1, setup_s=0.1, out_s=0.0, loss=0.01, burst=2.0)
    >>> tcp = Transport(congestion_control="reno")
    >>> [round(message_bound_bps(8.0 * n, 1e8, lossy, tcp) / 1e6, 1) for n in (1e5, 1e6, 1e9)]
    [503.3, 1.6, 1.4]
    """
    bound_bps = rate_bound_bps(route, transport)
    spared_bps = rate_bound_bps(replace(route, loss=0.0), transport)
    if bound_bps == spared_bps:
        return bound_bps
    spared_bits = min(bits, log(2) / route.loss * 8.0 * transport.mss_bytes)
    if spared_bits == bits:
        return spared_bps
    return bits / (spared_bits / min(rate_bps, spared_bps) + (bits - spared_bits) / bound_bps)
