"""Congestion windows of TCP flows on shared links, one round trip at a time: the compiled part.

A flow sends one window, then waits until a round trip after the window's start, and sends the next.
What it sends at any moment shares the links it crosses by weighted max-min fairness. So a window
that is smaller than its path leaves the path idle between bursts (slow start, exactly), and
windows that are larger stand in the bottleneck's queue, which serves flows in proportion to their
windows. Windows grow and shrink as Linux's do. All functions here are compiled by numba and take
plain arrays of records; :mod:`simfl.cost.windows` owns them.

Sources: Ha, Rhee and Xu, CUBIC, 2008, and RFC 9438 (growth, beta, fast convergence); Ha and Rhee,
Hybrid Slow Start, 2011, with the thresholds of Linux 6 (net/ipv4/tcp_cubic.c); RFC 5681 (Reno);
RFC 6928 (initial window); RFC 8985 (tail loss probe); RFC 8289 (CoDel); Heusse et al., 2003
(802.11).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

from simfl.cost.window_tables import ARRIVING, BBR, CUBIC, PAUSED, RENO, SENDING, WAITING

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
_ROUNDING: Final = 1e-12


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
def _queueing_s(t: Any, f: Any) -> Any:
    """What packets of a flow and their acknowledgements wait in queues now."""
    wait_s = 0.0
    for h in range(t.flows[f].hops):
        wait_s += t.queues[t.out_queue[f, h]].delay_s
    for h in range(t.flows[f].back_hops):
        wait_s += t.queues[t.back_queue[f, h]].delay_s
    return wait_s


@njit(cache=True)
def _weigh(t: Any) -> None:
    """What each flow weighs at each hop: links serve their queues, and their flows, in own ways."""
    for q in t.used_queues:
        t.queues[q].weight = 0.0
    for f in t.active:
        if t.flows[f].state == SENDING:
            # first come, first served: in proportion to what each has in the queue
            weight = t.flows[f].window / (t.flows[f].rtt_s + _queueing_s(t, f))
            for h in range(t.flows[f].hops):
                # fq_codel has a queue for each flow
                t.out_weight[f, h] = 1.0 if t.links[t.out_link[f, h]].fair else weight
                t.queues[t.out_queue[f, h]].weight += t.out_weight[f, h]
    for f in t.active:
        if t.flows[f].state == SENDING:
            for h in range(t.flows[f].hops):
                q = t.out_queue[f, h]
                # the medium is granted to queues in turn, whatever waits in them
                if t.queues[q].radio:
                    t.out_weight[f, h] /= t.queues[q].weight
                for i in range(h):
                    # from station to station through one cell: held by the busier queue
                    if t.out_link[f, i] == t.out_link[f, h]:
                        weight = min(t.out_weight[f, i], t.out_weight[f, h])
                        t.out_weight[f, i] = t.out_weight[f, h] = weight


@njit(cache=True)
def _offered_bps(t: Any, f: Any) -> Any:
    """The rate that the links of a flow would give it at their levels."""
    rate_bps = np.inf
    for h in range(t.flows[f].hops):
        rate_bps = min(rate_bps, t.out_weight[f, h] * t.links[t.out_link[f, h]].level)
    return rate_bps


@njit(cache=True)
def _spare(t: Any, link: Any) -> Any:
    """What acknowledgements leave of a link."""
    capacity = t.links[link].capacity
    return max(capacity - t.links[link].reserved, (1 - _RESERVE_MOST) * capacity)


@njit(cache=True)
def _fill(t: Any) -> None:
    """Weighted max-min rates of what is sent now; every bottleneck at once, pass after pass.

    A flow may weigh otherwise at another link. Then links can wait for each other in a ring, and
    the flow that is offered least is the one that no other could be better for.
    """
    for link in t.used_links:
        t.links[link].left = _spare(t, link)
        t.links[link].demand = 0.0
    growing = 0
    for f in t.active:
        t.flows[f].rate_bps = 0.0
        if t.flows[f].state == SENDING:
            growing += 1
            t.flows[f].bottleneck = -1
            for h in range(t.flows[f].hops):
                t.links[t.out_link[f, h]].demand += t.out_usage[f, h] * t.out_weight[f, h]
    while growing > 0:
        for link in t.used_links:
            t.links[link].level = (
                t.links[link].left / t.links[link].demand if t.links[link].demand > 0 else np.inf
            )
            t.links[link].least = np.inf
        lowest_bps = np.inf
        for f in t.active:
            if t.flows[f].state == SENDING and t.flows[f].bottleneck < 0:
                rate_bps = _offered_bps(t, f)
                lowest_bps = min(lowest_bps, rate_bps)
                for h in range(t.flows[f].hops):
                    link = t.out_link[f, h]
                    t.links[link].least = min(t.links[link].least, rate_bps / t.out_weight[f, h])
        before = growing
        for least_only in (False, True):
            if growing < before:
                break
            for f in t.active:
                if t.flows[f].state == SENDING and t.flows[f].bottleneck < 0:
                    rate_bps = _offered_bps(t, f)
                    for h in range(t.flows[f].hops):
                        link = t.out_link[f, h]
                        held = t.out_weight[f, h] * t.links[link].level <= rate_bps
                        # no flow across this link is held lower elsewhere: it is a bottleneck
                        full = t.links[link].level <= t.links[link].least * (1 + _ROUNDING)
                        if held and (full or (least_only and rate_bps <= lowest_bps)):
                            t.flows[f].bottleneck = link
                            t.flows[f].rate_bps = rate_bps
                            growing -= 1
                            break
        for link in t.used_links:
            t.links[link].demand = 0.0
            t.links[link].left = _spare(t, link)
        for f in t.active:
            if t.flows[f].state == SENDING:
                for h in range(t.flows[f].hops):
                    link = t.out_link[f, h]
                    if t.flows[f].bottleneck >= 0:
                        t.links[link].left = max(
                            t.links[link].left - t.out_usage[f, h] * t.flows[f].rate_bps, 0.0
                        )
                    else:
                        t.links[link].demand += t.out_usage[f, h] * t.out_weight[f, h]


@njit(cache=True)
def share(t: Any, segment_bits: Any) -> None:
    """Rates, queues and what acknowledgements take, from the windows as they are."""
    for _ in range(2):
        _weigh(t)
        _fill(t)
        for q in t.used_queues:
            t.queues[q].backlog_bits = 0.0
            t.queues[q].flight = 0.0
            t.queues[q].grown = 0.0
            t.queues[q].served_bps = 0.0
        for link in t.used_links:
            t.links[link].reserved = 0.0
        for f in t.active:
            if t.flows[f].state != SENDING:
                continue
            elsewhere_s = 0.0
            at = -1
            for h in range(t.flows[f].hops):
                q = t.out_queue[f, h]
                t.queues[q].served_bps += t.flows[f].rate_bps
                t.queues[q].flight += t.flows[f].window
                t.queues[q].grown += t.flows[f].grown
                if t.out_link[f, h] == t.flows[f].bottleneck and at < 0:
                    at = q
                else:
                    elsewhere_s += t.queues[q].delay_s
            for h in range(t.flows[f].back_hops):
                elsewhere_s += t.queues[t.back_queue[f, h]].delay_s
                t.links[t.back_link[f, h]].reserved += t.back_usage[f, h] * t.flows[f].rate_bps
            pipe_bits = t.flows[f].rate_bps * (t.flows[f].rtt_s + elsewhere_s)
            queued_bits = min(
                max(t.flows[f].window * segment_bits - pipe_bits, 0.0), t.flows[f].left_bits
            )
            if at >= 0:
                t.queues[at].backlog_bits += queued_bits
            t.flows[f].own_queue_s = (
                queued_bits / t.flows[f].rate_bps if t.flows[f].rate_bps > 0 else 0.0
            )
        for q in t.used_queues:
            t.queues[q].delay_s = 0.0
            if not t.links[t.queues[q].link].fair and t.queues[q].served_bps > 0:
                t.queues[q].delay_s = (
                    min(t.queues[q].backlog_bits, t.queues[q].limit_bits) / t.queues[q].served_bps
                )
    _trim(t)


@njit(cache=True)
def _trim(t: Any) -> None:
    """Take back what acknowledgements need beyond their last estimate: no link above capacity."""
    for link in t.used_links:
        t.links[link].load = t.links[link].reserved
    for f in t.active:
        if t.flows[f].state == SENDING:
            for h in range(t.flows[f].hops):
                t.links[t.out_link[f, h]].load += t.out_usage[f, h] * t.flows[f].rate_bps
    for link in t.used_links:
        forward = t.links[link].load - t.links[link].reserved
        t.links[link].level = 1.0
        if t.links[link].load > t.links[link].capacity:
            t.links[link].level = (
                max(t.links[link].capacity - t.links[link].reserved, 0.0) / forward
                if forward > 0
                else 1.0
            )
    for f in t.active:
        if t.flows[f].state == SENDING:
            keep = 1.0
            for h in range(t.flows[f].hops):
                keep = min(keep, t.links[t.out_link[f, h]].level)
            for h in range(t.flows[f].back_hops):
                link = t.back_link[f, h]
                if t.links[link].reserved > t.links[link].capacity:
                    keep = min(keep, t.links[link].capacity / t.links[link].reserved)
            if keep < 1.0:
                t.flows[f].rate_bps *= keep
    for link in t.used_links:
        t.links[link].load = 0.0
    for f in t.active:
        if t.flows[f].state == SENDING:
            for h in range(t.flows[f].hops):
                t.links[t.out_link[f, h]].load += t.out_usage[f, h] * t.flows[f].rate_bps
            for h in range(t.flows[f].back_hops):
                t.links[t.back_link[f, h]].load += t.back_usage[f, h] * t.flows[f].rate_bps


@njit(cache=True)
def _overflow(t: Any, segment_bits: Any) -> None:
    """Deal what full queues drop out to the flows: how many packets each is expected to lose."""
    for q in t.used_queues:
        over = (t.queues[q].backlog_bits - t.queues[q].limit_bits) / segment_bits
        fresh = over - t.queues[q].shed
        t.queues[q].shed = max(over, 0.0)
        if fresh <= 0 or t.links[t.queues[q].link].fair:
            continue
        for f in t.active:
            if t.flows[f].state != SENDING:
                continue
            for h in range(t.flows[f].hops):
                if t.out_queue[f, h] == q:
                    # part of it is the excess of those who grow, part is whoever comes next
                    part = (1 - _GROWERS) * t.flows[f].window / t.queues[q].flight
                    if t.queues[q].grown > 0:
                        part += _GROWERS * t.flows[f].grown / t.queues[q].grown
                    t.flows[f].drops += fresh * part / t.queues[q].cluster


@njit(cache=True)
def _see_round_trip(t: Any, f: Any) -> None:
    """The round trip that the first packets of a new window will meet, for HyStart."""
    wait_s = _queueing_s(t, f)
    if t.flows[f].first:
        # first windows arrive at once; those that came before are served before
        for h in range(t.flows[f].hops):
            ahead = 0.0
            for g in t.active:
                if g != f and t.flows[g].state == SENDING and t.flows[g].first:
                    for i in range(t.flows[g].hops):
                        if t.out_queue[g, i] == t.out_queue[f, h]:
                            ahead += t.flows[g].round_bits * t.out_usage[g, i]
            capacity = t.links[t.out_link[f, h]].capacity
            if capacity > 0:
                wait_s = max(wait_s, ahead / capacity)
    t.flows[f].rtt_seen_s = t.flows[f].rtt_s + wait_s


@njit(cache=True)
def _loses(t: Any, f: Any, now_s: Any, seed: Any, random_loss: Any, segment_bits: Any) -> Any:
    """Whether a packet of the window that ends now was dropped."""
    lost = False
    if t.flows[f].drops > 0:
        t.flows[f].draws += 1
        lost = _uniform(seed, t.flows[f].key, t.flows[f].draws) < 1 - math.exp(-t.flows[f].drops)
        t.flows[f].drops = 0.0
    link = t.flows[f].bottleneck
    if link >= 0 and t.links[link].fair:
        # one packet in the queue is never too many (RFC 8289, section 5.4)
        queued_bits = t.flows[f].own_queue_s * t.flows[f].rate_bps
        if t.flows[f].own_queue_s <= _CODEL_TARGET_S or queued_bits < 2 * segment_bits:
            t.flows[f].queued_since_s = _NEVER
        elif t.flows[f].queued_since_s == _NEVER:
            t.flows[f].queued_since_s = now_s
        elif now_s - t.flows[f].queued_since_s > _CODEL_INTERVAL_S:
            t.flows[f].queued_since_s = _NEVER
            lost = True
    if random_loss and t.flows[f].loss > 0:
        t.flows[f].draws += 1
        kept = (1 - t.flows[f].loss) ** t.flows[f].window
        lost = lost or _uniform(seed, t.flows[f].key, t.flows[f].draws) > kept
    return lost


@njit(cache=True)
def _adapt(t: Any, f: Any, now_s: Any, lost: Any, seed: Any, segment_bits: Any) -> Any:
    """The next window; returns how long the flow stands still before it."""
    flow = t.flows[f]
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
        _slow_start(t, f, segment_bits)
    elif flow.control == RENO:
        flow.window += 1.0
    else:
        _avoid(t, f, now_s)
    flow.window = min(flow.window, flow.limit)
    flow.grown = max(flow.window - before, 0.0)
    flow.first = 0
    return still_s


@njit(cache=True)
def _slow_start(t: Any, f: Any, segment_bits: Any) -> None:
    """Double, or leave slow start by HyStart's two signs."""
    flow = t.flows[f]
    flow.rtt_least_s = min(flow.rtt_least_s, flow.rtt_seen_s)
    # an aggregate is received, and acknowledged, as one: eight samples take eight of them
    if flow.control == CUBIC and flow.window >= _HYSTART_SAMPLES * flow.burst:
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
def _avoid(t: Any, f: Any, now_s: Any) -> None:
    """CUBIC's congestion avoidance over one round (RFC 9438, eqs. 1 to 5)."""
    flow = t.flows[f]
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
def _move(t: Any, dt_s: Any) -> None:
    for f in t.active:
        if t.flows[f].state == SENDING:
            bits = t.flows[f].rate_bps * dt_s
            t.flows[f].round_bits -= bits
            t.flows[f].left_bits -= bits
            for h in range(t.flows[f].hops):
                t.links[t.out_link[f, h]].carried += t.out_usage[f, h] * bits
    for link in t.used_links:
        t.links[link].used += t.links[link].load * dt_s


@njit(cache=True)
def _batch_s(t: Any) -> Any:
    """How far apart round trips may lie that are played as one event: nothing among few flows."""
    if len(t.active) <= _FEW:
        return 0.0
    least_s = np.inf
    sum_s = 0.0
    for f in t.active:
        least_s = min(least_s, t.flows[f].rtt_s)
        sum_s += t.flows[f].rtt_s + t.flows[f].own_queue_s
    return min(_BATCH * sum_s / len(t.active), least_s)


@njit(cache=True)
def _begin_round(t: Any, f: Any, at_s: Any, bits: Any) -> None:
    """Send a window; what its first packets meet is what HyStart will see."""
    flow = t.flows[f]
    flow.state = SENDING
    flow.timer_s = np.inf
    flow.round_s = at_s
    flow.round_bits = min(bits, flow.left_bits)
    _see_round_trip(t, f)


@njit(cache=True)
def _first_arrival_s(t: Any) -> Any:
    """When the next last byte arrives, of those that have been sent."""
    end_s = np.inf
    for f in t.active:
        if t.flows[f].state == ARRIVING:
            end_s = min(end_s, t.flows[f].arrives_s)
    return end_s


@njit(cache=True)
def _due_s(t: Any, now_s: Any) -> Any:
    """When the next window ends or begins; among many flows a batch of them, but no flow's end."""
    next_s = np.inf
    for f in t.active:
        flow = t.flows[f]
        if flow.state == SENDING:
            if flow.rate_bps > 0:
                next_s = min(next_s, now_s + max(flow.round_bits, 0.0) / flow.rate_bps)
        elif flow.state != ARRIVING:
            next_s = min(next_s, flow.timer_s)
    due_s = max(next_s, now_s) + _batch_s(t)
    if len(t.active) > _FEW:
        for f in t.active:
            flow = t.flows[f]
            if flow.state == SENDING and flow.rate_bps > 0:
                due_s = min(due_s, now_s + max(flow.left_bits, 0.0) / flow.rate_bps)
    return due_s


@njit(cache=True)
def advance(
    t: Any,
    now_s: Any,
    until_s: Any,
    stop_at_end: Any,
    seed: Any,
    random_loss: Any,
    segment_bits: Any,
    due_s: Any,
) -> Any:
    """Play rounds from ``now_s`` to ``until_s``.

    Args:
        t: the tables; changed in place.
        now_s: the time at which they stand.
        until_s: where to stop.
        stop_at_end: stop before anything that happens later than a flow's end.
        seed: of losses.
        random_loss: whether links lose packets at their rate.
        segment_bits: payload of a segment.
        due_s: when the next event is, as the last call has told; inf: not known.

    Returns:
        The time until which was played, the earliest end of a flow (inf: none ends by then), and
        when the next event is.
    """
    end_s = np.inf
    while True:
        end_s = min(end_s, _first_arrival_s(t))
        if due_s == np.inf:
            due_s = _due_s(t, now_s)
        # an event is where it is, wherever who looks stops on the way
        if due_s > until_s or (stop_at_end and due_s > end_s) or due_s == np.inf:
            break
        _move(t, due_s - now_s)
        now_s = due_s
        due_s = np.inf
        for f in t.active:
            flow = t.flows[f]
            ends_round = False
            at_s = now_s
            over_bits = 0.0
            if flow.state == WAITING and flow.timer_s <= now_s:
                flow.first = 1
                _begin_round(t, f, now_s, flow.window * segment_bits)
                flow.rtt_least_s = flow.rtt_seen_s
            elif flow.state == SENDING and (
                flow.round_bits <= _DONE_BITS
                or (flow.rate_bps > 0 and now_s + flow.round_bits / flow.rate_bps <= now_s)
            ):
                over_bits = max(-flow.round_bits, 0.0)
                # in a batch its window was over before; unless an outage has come since
                if over_bits > 0 and flow.rate_bps > 0:
                    at_s = max(now_s - over_bits / flow.rate_bps, flow.round_s)
                flow.drain_s = max(at_s - flow.round_s, 1e-9)
                flow.drained_bits = flow.window * segment_bits
                if flow.left_bits <= max(flow.round_bits, 0.0) + _DONE_BITS:
                    flow.state = ARRIVING
                    # so little that the clock cannot show its time
                    for h in range(flow.hops):
                        t.links[t.out_link[f, h]].carried += t.out_usage[f, h] * flow.left_bits
                    flow.left_bits = 0.0
                    flow.rate_bps = 0.0
                    flow.arrives_s = now_s + flow.out_s
                    end_s = min(end_s, flow.arrives_s)
                    continue
                back_s = flow.round_s + flow.rtt_s
                for h in range(flow.back_hops):
                    back_s += t.queues[t.back_queue[f, h]].delay_s
                if at_s >= back_s - 1e-12:
                    ends_round = True
                else:
                    flow.state = PAUSED
                    flow.timer_s = back_s
                    # what a batch let through beyond the window was not sent after all
                    flow.left_bits += over_bits
                    for h in range(flow.hops):
                        t.links[t.out_link[f, h]].carried -= t.out_usage[f, h] * over_bits
            elif flow.state == PAUSED and flow.timer_s <= now_s:
                at_s = flow.timer_s
                ends_round = True
            if ends_round:
                lost = _loses(t, f, now_s, seed, random_loss, segment_bits)
                still_s = _adapt(t, f, now_s, lost, seed, segment_bits)
                _begin_round(t, f, at_s, flow.window * segment_bits - over_bits)
                if still_s > 0:
                    flow.state = PAUSED
                    flow.round_bits = 0.0
                    flow.timer_s = at_s + still_s
        share(t, segment_bits)
        _overflow(t, segment_bits)
    if until_s < np.inf and not stop_at_end:
        _move(t, until_s - now_s)
        now_s = until_s
    return now_s, end_s, due_s
