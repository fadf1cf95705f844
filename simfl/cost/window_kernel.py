"""Congestion windows of TCP flows on shared links, one round trip at a time: the compiled part.

A flow sends one window, then waits until a round trip after the window's start, and sends the next.
What it sends at any moment shares the links it crosses by weighted max-min fairness. So a window
that is smaller than its path leaves the path idle between bursts (slow start, exactly), and
windows that are larger stand in the bottleneck's queue, which serves flows in proportion to their
windows. Windows grow and shrink as Linux's do. All functions here are compiled by numba and take
plain arrays of records; :mod:`simfl.cost.windows` owns them.

Sources: Ha, Rhee and Xu, CUBIC, 2008, and RFC 9438 (growth, beta, fast convergence); Ha and Rhee,
Hybrid Slow Start, 2011, with the thresholds of Linux 6 (net/ipv4/tcp_cubic.c); RFC 5681 (Reno);
RFC 6928 (initial window); RFC 8985 (tail loss probe); RFC 8289 (CoDel); Heusse et al., 2003 (802.11).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

# what a flow does
FREE: Final = 0
WAITING: Final = 1
SENDING: Final = 2
PAUSED: Final = 3
ARRIVING: Final = 4

CUBIC: Final = 0
RENO: Final = 1
BBR: Final = 2

# per segment: TCP's maximum with timestamps on a path of 1,500-byte packets
FLOW: Final = np.dtype(
    [
        ("key", "u8"),
        ("state", "i8"),
        ("control", "i8"),
        ("hops", "i8"),
        ("back_hops", "i8"),
        ("draws", "i8"),
        ("bottleneck", "i8"),
        ("fair", "i8"),
        ("first", "i8"),
        ("recovering", "i8"),
        ("born_s", "f8"),
        ("timer_s", "f8"),
        ("arrives_s", "f8"),
        ("rtt_s", "f8"),
        ("out_s", "f8"),
        ("loss", "f8"),
        ("burst", "f8"),
        ("limit", "f8"),
        ("left_bits", "f8"),
        ("round_bits", "f8"),
        ("round_s", "f8"),
        ("drain_s", "f8"),
        ("drained_bits", "f8"),
        ("rate_bps", "f8"),
        ("weight", "f8"),
        ("own_queue_s", "f8"),
        ("window", "f8"),
        ("threshold", "f8"),
        ("grown", "f8"),
        ("rtt_seen_s", "f8"),
        ("rtt_least_s", "f8"),
        ("window_max", "f8"),
        ("epoch_s", "f8"),
        ("origin", "f8"),
        ("k_s", "f8"),
        ("window_reno", "f8"),
        ("queued_since_s", "f8"),
        ("drops", "f8"),
    ]
)
"""A flow. ``fair``: a queue of its own (fq_codel) on its path; ``burst``: segments that leave its
narrowest link together; windows are in segments; ``limit``: the receiver's window."""

LINK: Final = np.dtype(
    [
        ("capacity", "f8"),
        ("fair", "i8"),
        ("reserved", "f8"),
        ("left", "f8"),
        ("demand", "f8"),
        ("level", "f8"),
        ("least", "f8"),
        ("load", "f8"),
        ("carried", "f8"),
        ("used", "f8"),
    ]
)
"""A link: ``capacity`` in bit/s, or seconds of air a second (1); ``carried``: of
what flows sent so far; ``used``: the same with acknowledgements, the integral of ``load``."""

QUEUE: Final = np.dtype(
    [
        ("link", "i8"),
        ("radio", "i8"),
        ("cluster", "f8"),
        ("limit_bits", "f8"),
        ("backlog_bits", "f8"),
        ("flight", "f8"),
        ("grown", "f8"),
        ("weight", "f8"),
        ("served_bps", "f8"),
        ("delay_s", "f8"),
        ("shed", "f8"),
    ]
)
"""A queue in front of a link: a wire has one, a cell one a station and one at the access point."""

_NEVER: Final = np.inf
_DONE_BITS: Final = 1e-3
# among more flows than these, the rounds that end within a sixteenth of a mean round trip are one
# event: each costs a look at all flows
_FEW: Final = 32
_BATCH: Final = 1 / 16
# no more is known than that both happen (assumed)
_GROWERS: Final = 0.5
# Linux 6, net/ipv4/tcp_cubic.c: 717/1024, C = 0.4, 5 % a round trip before any loss, HyStart
_BETA: Final = 717 / 1024
_C: Final = 0.4
_GROWTH_UNTRIED: Final = 1.05
_HYSTART_WINDOW: Final = 16.0
_HYSTART_LEAST_S: Final = 0.004
_HYSTART_MOST_S: Final = 0.016
_HYSTART_SAMPLES: Final = 8.0
_HYSTART_TRAIN_S: Final = 0.002
# RFC 9438, section 4.3: 3 (1 - beta) / (1 + beta)
_RENO_GROWTH: Final = 3 * (1 - _BETA) / (1 + _BETA)
# RFC 8289, section 4.2 and 4.3
_CODEL_TARGET_S: Final = 0.005
_CODEL_INTERVAL_S: Final = 0.100
# acknowledgements may take this much of a link at most
_RESERVE_MOST: Final = 0.98


@njit(cache=True)
def _uniform(seed: Any, key: Any, count: Any) -> Any:
    """A number in [0, 1) that depends on nothing but its arguments (SplitMix64)."""
    z = seed * np.uint64(0x9E3779B97F4A7C15) + key * np.uint64(0xBF58476D1CE4E5B9)
    z += np.uint64(count) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) / 9007199254740992.0


@njit(cache=True)
def _queueing_s(f: Any, flows: Any, queues: Any, out_queue: Any, back_queue: Any) -> Any:
    """What packets of a flow and their acknowledgements wait in queues now."""
    wait_s = 0.0
    for h in range(flows[f].hops):
        wait_s += queues[out_queue[f, h]].delay_s
    for h in range(flows[f].back_hops):
        wait_s += queues[back_queue[f, h]].delay_s
    return wait_s


@njit(cache=True)
def _fill(
    active: Any, flows: Any, links: Any, used_links: Any, out_link: Any, out_usage: Any
) -> None:
    """Weighted max-min rates of what is sent now; every bottleneck at once, pass after pass."""
    for link in used_links:
        links[link].left = max(
            links[link].capacity - links[link].reserved, (1 - _RESERVE_MOST) * links[link].capacity
        )
        links[link].demand = 0.0
    growing = 0
    for f in active:
        flows[f].rate_bps = 0.0
        if flows[f].state == SENDING:
            growing += 1
            flows[f].bottleneck = -1
            for h in range(flows[f].hops):
                links[out_link[f, h]].demand += out_usage[f, h] * flows[f].weight
    while growing > 0:
        for link in used_links:
            links[link].level = (
                links[link].left / links[link].demand if links[link].demand > 0 else np.inf
            )
            links[link].least = np.inf
        for f in active:
            if flows[f].state == SENDING and flows[f].bottleneck < 0:
                level = np.inf
                for h in range(flows[f].hops):
                    level = min(level, links[out_link[f, h]].level)
                for h in range(flows[f].hops):
                    link = out_link[f, h]
                    links[link].least = min(links[link].least, level)
        for f in active:
            if flows[f].state == SENDING and flows[f].bottleneck < 0:
                for h in range(flows[f].hops):
                    link = out_link[f, h]
                    # no flow across this link is held lower elsewhere: the link is a bottleneck
                    if links[link].level <= links[link].least:
                        flows[f].bottleneck = link
                        flows[f].rate_bps = flows[f].weight * links[link].level
                        growing -= 1
                        break
        for link in used_links:
            links[link].demand = 0.0
            links[link].left = max(
                links[link].capacity - links[link].reserved,
                (1 - _RESERVE_MOST) * links[link].capacity,
            )
        for f in active:
            if flows[f].state == SENDING:
                for h in range(flows[f].hops):
                    link = out_link[f, h]
                    if flows[f].bottleneck >= 0:
                        links[link].left = max(
                            links[link].left - out_usage[f, h] * flows[f].rate_bps, 0.0
                        )
                    else:
                        links[link].demand += out_usage[f, h] * flows[f].weight


@njit(cache=True)
def share(
    segment_bits: Any,
    active: Any,
    flows: Any,
    links: Any,
    queues: Any,
    used_links: Any,
    used_queues: Any,
    out_link: Any,
    out_queue: Any,
    out_usage: Any,
    back_link: Any,
    back_queue: Any,
    back_usage: Any,
) -> None:
    """Rates, queues and what acknowledgements take, from the windows as they are."""
    for _ in range(2):
        for q in used_queues:
            queues[q].weight = 0.0
        for f in active:
            if flows[f].state != SENDING:
                continue
            flows[f].weight = 1.0
            if not flows[f].fair:
                # first come, first served: in proportion to what each has in the queue
                wait_s = _queueing_s(f, flows, queues, out_queue, back_queue)
                flows[f].weight = flows[f].window / (flows[f].rtt_s + wait_s)
            for h in range(flows[f].hops):
                queues[out_queue[f, h]].weight += flows[f].weight
        for f in active:
            if flows[f].state == SENDING:
                for h in range(flows[f].hops):
                    q = out_queue[f, h]
                    # the medium is granted to queues in turn, whatever waits in them
                    if queues[q].radio:
                        flows[f].weight /= queues[q].weight
        _fill(active, flows, links, used_links, out_link, out_usage)
        for q in used_queues:
            queues[q].backlog_bits = 0.0
            queues[q].flight = 0.0
            queues[q].grown = 0.0
            queues[q].served_bps = 0.0
        for link in used_links:
            links[link].reserved = 0.0
        for f in active:
            if flows[f].state != SENDING:
                continue
            elsewhere_s = 0.0
            at = -1
            for h in range(flows[f].hops):
                q = out_queue[f, h]
                queues[q].served_bps += flows[f].rate_bps
                queues[q].flight += flows[f].window
                queues[q].grown += flows[f].grown
                if out_link[f, h] == flows[f].bottleneck and at < 0:
                    at = q
                else:
                    elsewhere_s += queues[q].delay_s
            for h in range(flows[f].back_hops):
                elsewhere_s += queues[back_queue[f, h]].delay_s
                links[back_link[f, h]].reserved += back_usage[f, h] * flows[f].rate_bps
            pipe_bits = flows[f].rate_bps * (flows[f].rtt_s + elsewhere_s)
            queued_bits = min(
                max(flows[f].window * segment_bits - pipe_bits, 0.0), flows[f].left_bits
            )
            if at >= 0:
                queues[at].backlog_bits += queued_bits
            flows[f].own_queue_s = queued_bits / flows[f].rate_bps if flows[f].rate_bps > 0 else 0.0
        for q in used_queues:
            queues[q].delay_s = 0.0
            if not links[queues[q].link].fair and queues[q].served_bps > 0:
                queues[q].delay_s = (
                    min(queues[q].backlog_bits, queues[q].limit_bits) / queues[q].served_bps
                )
    _trim(active, flows, links, used_links, out_link, out_usage, back_link, back_usage)


@njit(cache=True)
def _trim(
    active: Any,
    flows: Any,
    links: Any,
    used_links: Any,
    out_link: Any,
    out_usage: Any,
    back_link: Any,
    back_usage: Any,
) -> None:
    """Take back what acknowledgements need beyond their last estimate: no link above capacity."""
    for link in used_links:
        links[link].load = links[link].reserved
    for f in active:
        if flows[f].state == SENDING:
            for h in range(flows[f].hops):
                links[out_link[f, h]].load += out_usage[f, h] * flows[f].rate_bps
    for link in used_links:
        forward = links[link].load - links[link].reserved
        links[link].level = 1.0
        if links[link].load > links[link].capacity:
            links[link].level = (
                max(links[link].capacity - links[link].reserved, 0.0) / forward
                if forward > 0
                else 1.0
            )
    for f in active:
        if flows[f].state == SENDING:
            keep = 1.0
            for h in range(flows[f].hops):
                keep = min(keep, links[out_link[f, h]].level)
            for h in range(flows[f].back_hops):
                link = back_link[f, h]
                if links[link].reserved > links[link].capacity:
                    keep = min(keep, links[link].capacity / links[link].reserved)
            if keep < 1.0:
                flows[f].rate_bps *= keep
    for link in used_links:
        links[link].load = 0.0
    for f in active:
        if flows[f].state == SENDING:
            for h in range(flows[f].hops):
                links[out_link[f, h]].load += out_usage[f, h] * flows[f].rate_bps
            for h in range(flows[f].back_hops):
                links[back_link[f, h]].load += back_usage[f, h] * flows[f].rate_bps


@njit(cache=True)
def _overflow(
    segment_bits: Any,
    active: Any,
    flows: Any,
    links: Any,
    queues: Any,
    used_queues: Any,
    out_queue: Any,
) -> None:
    """Deal what full queues drop out to the flows: how many packets each is expected to lose."""
    for q in used_queues:
        over = (queues[q].backlog_bits - queues[q].limit_bits) / segment_bits
        fresh = over - queues[q].shed
        queues[q].shed = max(over, 0.0)
        if fresh <= 0 or links[queues[q].link].fair:
            continue
        for f in active:
            if flows[f].state != SENDING:
                continue
            for h in range(flows[f].hops):
                if out_queue[f, h] == q:
                    # part of it is the excess of those who grow, part is whoever comes next
                    part = (1 - _GROWERS) * flows[f].window / queues[q].flight
                    if queues[q].grown > 0:
                        part += _GROWERS * flows[f].grown / queues[q].grown
                    flows[f].drops += fresh * part / queues[q].cluster


@njit(cache=True)
def _see_round_trip(
    f: Any,
    active: Any,
    flows: Any,
    links: Any,
    queues: Any,
    out_link: Any,
    out_queue: Any,
    out_usage: Any,
    back_queue: Any,
) -> None:
    """The round trip that the first packets of a new window will meet, for HyStart."""
    wait_s = _queueing_s(f, flows, queues, out_queue, back_queue)
    if flows[f].first:
        # first windows arrive at once; those that came before are served before
        for h in range(flows[f].hops):
            ahead = 0.0
            for g in active:
                if g != f and flows[g].state == SENDING and flows[g].first:
                    for i in range(flows[g].hops):
                        if out_queue[g, i] == out_queue[f, h]:
                            ahead += flows[g].round_bits * out_usage[g, i]
            capacity = links[out_link[f, h]].capacity
            if capacity > 0:
                wait_s = max(wait_s, ahead / capacity)
    flows[f].rtt_seen_s = flows[f].rtt_s + wait_s


@njit(cache=True)
def _loses(
    f: Any,
    now_s: Any,
    seed: Any,
    random_loss: Any,
    segment_bits: Any,
    flows: Any,
    links: Any,
    queues: Any,
    out_queue: Any,
) -> Any:
    """Whether a packet of the window that ends now was dropped."""
    lost = False
    if flows[f].drops > 0:
        flows[f].draws += 1
        lost = _uniform(seed, flows[f].key, flows[f].draws) < 1 - math.exp(-flows[f].drops)
        flows[f].drops = 0.0
    link = flows[f].bottleneck
    if link >= 0 and links[link].fair:
        # one packet in the queue is never too many (RFC 8289, section 5.4)
        queued_bits = flows[f].own_queue_s * flows[f].rate_bps
        if flows[f].own_queue_s <= _CODEL_TARGET_S or queued_bits < 2 * segment_bits:
            flows[f].queued_since_s = _NEVER
        elif flows[f].queued_since_s == _NEVER:
            flows[f].queued_since_s = now_s
        elif now_s - flows[f].queued_since_s > _CODEL_INTERVAL_S:
            flows[f].queued_since_s = _NEVER
            lost = True
    if random_loss and flows[f].loss > 0:
        flows[f].draws += 1
        kept = (1 - flows[f].loss) ** flows[f].window
        lost = lost or _uniform(seed, flows[f].key, flows[f].draws) > kept
    return lost


@njit(cache=True)
def _adapt(f: Any, now_s: Any, lost: Any, seed: Any, segment_bits: Any, flows: Any) -> Any:
    """The next window; returns how long the flow stands still before it."""
    flow = flows[f]
    before = flow.window
    still_s = 0.0
    if flow.control == BBR:
        # BBR v1 probes up to two pipes and does not answer to losses (Cardwell et al., 2016)
        if flow.drain_s < 2 * flow.rtt_s:
            flow.window *= 2
    elif lost:
        beta = 0.5 if flow.control == RENO else _BETA
        if before < flow.threshold:
            # slow start goes on until the hole is seen, wherever in the window it is
            flow.draws += 1
            before *= 1 + _uniform(seed, flow.key, flow.draws)
        if before >= flow.window_max:
            flow.window_max = before
        else:
            flow.window_max = before * (1 + beta) / 2
        flow.threshold = max(before * beta, 2.0)
        flow.window = flow.threshold
        flow.epoch_s = _NEVER
        flow.recovering = 1
        if before < 4:
            # too few packets follow a lost one to tell of it: a tail loss probe does (RFC 8985)
            still_s = 2 * flow.rtt_s
    elif flow.recovering:
        # fast recovery: what was lost is sent again, and the window stands for a round trip
        flow.recovering = 0
    elif before < flow.threshold:
        _slow_start(f, segment_bits, flows)
    elif flow.control == RENO:
        flow.window += 1.0
    else:
        _avoid(f, now_s, flows)
    flow.window = min(flow.window, flow.limit)
    flow.grown = max(flow.window - before, 0.0)
    flow.first = 0
    return still_s


@njit(cache=True)
def _slow_start(f: Any, segment_bits: Any, flows: Any) -> None:
    """Double, or leave slow start by HyStart's two signs."""
    flow = flows[f]
    flow.rtt_least_s = min(flow.rtt_least_s, flow.rtt_seen_s)
    if flow.control == CUBIC and flow.window >= _HYSTART_WINDOW:
        most_s = min(max(flow.rtt_least_s / 8, _HYSTART_LEAST_S), _HYSTART_MOST_S)
        spacing_s = flow.burst * segment_bits * flow.drain_s / flow.drained_bits
        if flow.rtt_seen_s - flow.rtt_least_s > most_s:
            flow.window += _HYSTART_SAMPLES
            flow.threshold = flow.window
        elif flow.drain_s > flow.rtt_s / 2 and spacing_s < _HYSTART_TRAIN_S:
            # the train of acknowledgements is half a round trip long
            flow.window += 0.5 * flow.rtt_s * flow.drained_bits / flow.drain_s / segment_bits
            flow.threshold = flow.window
        else:
            flow.window *= 2
    else:
        flow.window = min(flow.window * 2, max(flow.threshold, flow.window))
    flow.epoch_s = _NEVER


@njit(cache=True)
def _avoid(f: Any, now_s: Any, flows: Any) -> None:
    """CUBIC's congestion avoidance over one round (RFC 9438, eqs. 1 to 5)."""
    flow = flows[f]
    if flow.epoch_s == _NEVER:
        flow.epoch_s = flow.round_s
        flow.window_reno = flow.window
        flow.origin = max(flow.window_max, flow.window)
        flow.k_s = ((flow.origin - flow.window) / _C) ** (1 / 3)
    after_s = now_s - flow.epoch_s + flow.rtt_s
    target = flow.origin + _C * (after_s - flow.k_s) ** 3
    if flow.window_max == 0.0:
        target = max(target, _GROWTH_UNTRIED * flow.window)
    flow.window_reno += _RENO_GROWTH
    # Linux adds at least one segment in a hundred windows, and at most half a window a round
    grown = min(max(target, flow.window + 0.01), 1.5 * flow.window)
    flow.window = max(grown, flow.window_reno)


@njit(cache=True)
def _move(
    dt_s: Any, active: Any, flows: Any, links: Any, used_links: Any, out_link: Any, out_usage: Any
) -> None:
    for f in active:
        if flows[f].state == SENDING:
            bits = flows[f].rate_bps * dt_s
            flows[f].round_bits -= bits
            flows[f].left_bits -= bits
            for h in range(flows[f].hops):
                links[out_link[f, h]].carried += out_usage[f, h] * bits
    for link in used_links:
        links[link].used += links[link].load * dt_s


@njit(cache=True)
def _batch_s(active: Any, flows: Any) -> Any:
    """How far apart round trips may lie that are played as one event: nothing among few flows."""
    if len(active) <= _FEW:
        return 0.0
    least_s = np.inf
    sum_s = 0.0
    for f in active:
        least_s = min(least_s, flows[f].rtt_s)
        sum_s += flows[f].rtt_s + flows[f].own_queue_s
    return min(_BATCH * sum_s / len(active), least_s)


@njit(cache=True)
def advance(
    now_s: Any,
    until_s: Any,
    stop_at_end: Any,
    seed: Any,
    random_loss: Any,
    segment_bits: Any,
    active: Any,
    flows: Any,
    links: Any,
    queues: Any,
    used_links: Any,
    used_queues: Any,
    out_link: Any,
    out_queue: Any,
    out_usage: Any,
    back_link: Any,
    back_queue: Any,
    back_usage: Any,
) -> Any:
    """Play rounds from ``now_s`` to ``until_s``.

    Args:
        stop_at_end: stop before anything that happens later than a flow's end.
        random_loss: whether links lose packets at their rate.
        segment_bits: payload of a segment.

    Returns:
        The time until which was played, and the earliest end of a flow (inf: none ends by then).
    """
    end_s = np.inf
    while True:
        next_s = np.inf
        for f in active:
            flow = flows[f]
            if flow.state == SENDING:
                if flow.rate_bps > 0:
                    next_s = min(next_s, now_s + max(flow.round_bits, 0.0) / flow.rate_bps)
            elif flow.state == ARRIVING:
                end_s = min(end_s, flow.arrives_s)
            else:
                next_s = min(next_s, flow.timer_s)
        if next_s > until_s or (stop_at_end and next_s > end_s) or next_s == np.inf:
            break
        next_s = min(max(next_s, now_s) + _batch_s(active, flows), until_s)
        if len(active) > _FEW:
            for f in active:
                if flows[f].state == SENDING and flows[f].rate_bps > 0:
                    next_s = min(next_s, now_s + max(flows[f].left_bits, 0.0) / flows[f].rate_bps)
        _move(next_s - now_s, active, flows, links, used_links, out_link, out_usage)
        now_s = next_s
        for f in active:
            flow = flows[f]
            ends_round = False
            at_s = now_s
            over_bits = 0.0
            if flow.state == WAITING and flow.timer_s <= now_s:
                flow.state = SENDING
                flow.round_s = now_s
                flow.first = 1
                flow.round_bits = min(flow.window * segment_bits, flow.left_bits)
                _see_round_trip(
                    f, active, flows, links, queues, out_link, out_queue, out_usage, back_queue
                )
                flow.rtt_least_s = flow.rtt_seen_s
            elif flow.state == SENDING and (
                flow.round_bits <= _DONE_BITS
                or (flow.rate_bps > 0 and now_s + flow.round_bits / flow.rate_bps <= now_s)
            ):
                over_bits = max(-flow.round_bits, 0.0)
                if over_bits > 0:
                    at_s = now_s - over_bits / flow.rate_bps
                flow.drain_s = max(at_s - flow.round_s, 1e-9)
                flow.drained_bits = flow.window * segment_bits
                if flow.left_bits <= max(flow.round_bits, 0.0) + _DONE_BITS:
                    flow.state = ARRIVING
                    # so little that the clock cannot show its time
                    for h in range(flow.hops):
                        links[out_link[f, h]].carried += out_usage[f, h] * flow.left_bits
                    flow.left_bits = 0.0
                    flow.rate_bps = 0.0
                    flow.arrives_s = now_s + flow.out_s
                    end_s = min(end_s, flow.arrives_s)
                    continue
                back_s = flow.round_s + flow.rtt_s
                for h in range(flow.back_hops):
                    back_s += queues[back_queue[f, h]].delay_s
                if at_s >= back_s - 1e-12:
                    ends_round = True
                else:
                    flow.state = PAUSED
                    flow.timer_s = back_s
                    # what a batch let through beyond the window was not sent after all
                    flow.left_bits += over_bits
                    for h in range(flow.hops):
                        links[out_link[f, h]].carried -= out_usage[f, h] * over_bits
            elif flow.state == PAUSED and flow.timer_s <= now_s:
                at_s = flow.timer_s
                ends_round = True
            if ends_round:
                lost = _loses(
                    f,
                    now_s,
                    seed,
                    random_loss,
                    segment_bits,
                    flows,
                    links,
                    queues,
                    out_queue,
                )
                still_s = _adapt(f, now_s, lost, seed, segment_bits, flows)
                flow.round_s = at_s
                flow.round_bits = min(flow.window * segment_bits - over_bits, flow.left_bits)
                flow.state = SENDING
                flow.timer_s = np.inf
                if still_s > 0:
                    flow.state = PAUSED
                    flow.round_bits = 0.0
                    flow.timer_s = at_s + still_s
                _see_round_trip(
                    f, active, flows, links, queues, out_link, out_queue, out_usage, back_queue
                )
        share(
            segment_bits,
            active,
            flows,
            links,
            queues,
            used_links,
            used_queues,
            out_link,
            out_queue,
            out_usage,
            back_link,
            back_queue,
            back_usage,
        )
        _overflow(segment_bits, active, flows, links, queues, used_queues, out_queue)
    if until_s < np.inf and not stop_at_end:
        _move(until_s - now_s, active, flows, links, used_links, out_link, out_usage)
        now_s = until_s
    return now_s, end_s
