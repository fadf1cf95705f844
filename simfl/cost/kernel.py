"""Max-min fair flows on tables, compiled: only what a change touches is shared anew.

A vector of rates is max-min fair when each flow has a bottleneck: its cap, or a full link on which
nobody has more for its weight. After a change some flows may lack one. Those are shared anew,
those of others are kept; where a kept flow loses its bottleneck by that, it joins, until all have
one.

The tables are those of `tables`. All compiled functions are in this one file, since numba looks at
no other for what has changed.

Source: the condition: Bertsekas and Gallager, Data Networks (2nd ed., 1992), section 6.5.2.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

from numba import njit

from simfl.cost.flows import REST_BITS

# rows of a table: numba knows their fields, mypy does not
Table = Any

AT_CAP: Final = -1
KEPT: Final = 0
OPEN: Final = 1
KNOWN: Final = 2
# relative differences below this are rounding
_SLACK: Final = 1e-13


@njit(cache=True)
def _sift(flows: Table, heap: Table, size: int, place: int) -> None:
    """Bring one entry of the heap of ends to its place."""
    row = heap[place]
    end_s = flows[row].end_s
    while place > 0:
        parent = (place - 1) // 2
        if flows[heap[parent]].end_s <= end_s:
            break
        heap[place] = heap[parent]
        flows[heap[place]].place = place
        place = parent
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and flows[heap[child + 1]].end_s < flows[heap[child]].end_s:
            child += 1
        if flows[heap[child]].end_s >= end_s:
            break
        heap[place] = heap[child]
        flows[heap[place]].place = place
        place = child
    heap[place] = row
    flows[row].place = place


@njit(cache=True)
def mark(links: Table, counts: Table, changed: Table, link: int) -> None:
    """Put a link on the list of those that changed."""
    if not links[link].changed:
        links[link].changed = 1
        changed[counts[0].changed] = link
        counts[0].changed += 1


@njit(cache=True)
def add(
    flows: Table,
    links: Table,
    crossings: Table,
    counts: Table,
    heap: Table,
    row: int,
    crossed: Table,
    usage: Table,
) -> None:
    """A new flow, whose own fields are set, onto its links and into the heap."""
    flows[row].first = -1
    flows[row].rate_bps = 0.0
    flows[row].level = 0.0
    flows[row].end_s = inf
    flows[row].bottleneck = AT_CAP
    flows[row].state = KEPT
    for i in range(len(crossed)):
        link = crossed[i]
        new = counts[0].free
        counts[0].free = crossings[new].along
        crossings[new].flow = row
        crossings[new].link = link
        crossings[new].usage = usage[i]
        crossings[new].along = flows[row].first
        flows[row].first = new
        after = links[link].first
        crossings[new].after = after
        crossings[new].before = -1
        if after >= 0:
            crossings[after].before = new
        links[link].first = new
    counts[0].crossings += len(crossed)
    place = counts[0].flows
    counts[0].flows += 1
    heap[place] = row
    flows[row].place = place


@njit(cache=True)
def bring_up(flows: Table, row: int, now_s: float) -> None:
    """What is left of a flow, as of now."""
    flows[row].left_bits -= flows[row].rate_bps * (now_s - flows[row].since_s)
    flows[row].since_s = now_s


@njit(cache=True)
def remove(
    flows: Table,
    links: Table,
    crossings: Table,
    counts: Table,
    heap: Table,
    changed: Table,
    row: int,
    now_s: float,
) -> None:
    """A flow off its links and out of the heap; what was left is in its row."""
    bring_up(flows, row, now_s)
    moved = flows[row].bits - max(flows[row].left_bits, 0.0)
    at = flows[row].first
    while at >= 0:
        link = crossings[at].link
        links[link].carried += moved * crossings[at].usage
        before, after = crossings[at].before, crossings[at].after
        if before >= 0:
            crossings[before].after = after
        else:
            links[link].first = after
        if after >= 0:
            crossings[after].before = before
        mark(links, counts, changed, link)
        along = crossings[at].along
        crossings[at].along = counts[0].free
        counts[0].free = at
        counts[0].crossings -= 1
        at = along
    counts[0].flows -= 1
    size = counts[0].flows
    place = flows[row].place
    if place < size:
        heap[place] = heap[size]
        flows[heap[place]].place = place
        _sift(flows, heap, size, place)


@njit(cache=True)
def _join(
    flows: Table,
    links: Table,
    crossings: Table,
    anew: Table,
    looked_at: Table,
    sizes: tuple[int, int],
    row: int,
) -> tuple[int, int]:
    """A flow to those shared anew, its links to those looked at; gives how many of both."""
    many, wide = sizes
    flows[row].state = OPEN
    anew[many] = row
    at = flows[row].first
    while at >= 0:
        link = crossings[at].link
        if not links[link].looked_at:
            links[link].looked_at = 1
            looked_at[wide] = link
            wide += 1
        at = crossings[at].along
    return many + 1, wide


@njit(cache=True)
def _push(keys: Table, names: Table, size: int, key: float, name: int) -> int:
    """Onto a heap of (key, name); gives its size."""
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if keys[parent] <= key:
            break
        keys[place] = keys[parent]
        names[place] = names[parent]
        place = parent
    keys[place] = key
    names[place] = name
    return size + 1


@njit(cache=True)
def _pop(keys: Table, names: Table, size: int) -> int:
    """The first off a heap; gives its size."""
    size -= 1
    key, name = keys[size], names[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place] = keys[child]
        names[place] = names[child]
        place = child
    keys[place] = key
    names[place] = name
    return size


@njit(cache=True)
def _full_at(flows: Table, links: Table, crossings: Table, link: int) -> float:
    """The level of the open flows at which a link is full; inf without any."""
    spare = links[link].capacity
    asked = 0.0
    at = links[link].first
    while at >= 0:
        row = crossings[at].flow
        share = crossings[at].usage * flows[row].weight
        if flows[row].state == OPEN:
            asked += share
        else:
            spare -= share * flows[row].level
        at = crossings[at].after
    if asked == 0.0:
        return inf
    return max(spare / asked, 0.0)  # type: ignore[no-any-return]


@njit(cache=True)
def _fill(
    flows: Table,
    links: Table,
    crossings: Table,
    anew: Table,
    looked_at: Table,
    sizes: tuple[int, int],
    keys: Table,
    names: Table,
) -> None:
    """Progressive filling of the open flows, beside the rates of the others.

    Links and caps wait in a heap by the level at which they bind; a link's rises as flows that
    bind elsewhere become known, so that what comes first is looked at once more.
    """
    many, wide = sizes
    size = 0
    for i in range(many):
        row = anew[i]
        if flows[row].cap_bps < inf:
            limit = flows[row].cap_bps / flows[row].weight
            size = _push(keys, names, size, limit, len(links) + row)
    for i in range(wide):
        level = _full_at(flows, links, crossings, looked_at[i])
        if level < inf:
            size = _push(keys, names, size, level, looked_at[i])
    while size > 0:
        level, name = keys[0], names[0]
        size = _pop(keys, names, size)
        if name >= len(links):
            row = name - len(links)
            if flows[row].state == OPEN:
                flows[row].state = KNOWN
                flows[row].level = level
                flows[row].bottleneck = AT_CAP
            continue
        level = _full_at(flows, links, crossings, name)
        if level == inf:
            continue
        if size > 0 and level > keys[0]:
            size = _push(keys, names, size, level, name)
            continue
        at = links[name].first
        while at >= 0:
            row = crossings[at].flow
            if flows[row].state == OPEN:
                flows[row].state = KNOWN
                flows[row].level = level
                flows[row].bottleneck = name
            at = crossings[at].after


@njit(cache=True)
def _widen(
    flows: Table,
    links: Table,
    crossings: Table,
    anew: Table,
    looked_at: Table,
    sizes: tuple[int, int],
) -> tuple[int, int]:
    """Kept flows that lost their bottleneck, or stand in the way, join; gives how many of both."""
    many, wide = sizes
    for i in range(sizes[1]):
        link = looked_at[i]
        load = top = 0.0
        # the level of flows that this link rules since now; below 0: none
        ruled = -1.0
        at = links[link].first
        while at >= 0:
            row = crossings[at].flow
            level = flows[row].level
            load += crossings[at].usage * flows[row].weight * level
            top = max(top, level)
            if flows[row].state == KNOWN and flows[row].bottleneck == link:
                ruled = level
            at = crossings[at].after
        full = load >= links[link].capacity * (1 - _SLACK)
        over = load > links[link].capacity * (1 + _SLACK)
        at = links[link].first
        while at >= 0:
            row = crossings[at].flow
            if flows[row].state == KEPT:
                level = flows[row].level
                ousted = flows[row].bottleneck == link and (not full or top > level * (1 + _SLACK))
                in_the_way = ruled >= 0 and level > ruled * (1 + _SLACK)
                if ousted or in_the_way or (over and ruled < 0):
                    many, wide = _join(flows, links, crossings, anew, looked_at, (many, wide), row)
            at = crossings[at].after
    return many, wide


@njit(cache=True)
def share(
    flows: Table,
    links: Table,
    crossings: Table,
    counts: Table,
    heap: Table,
    changed: Table,
    fresh: Table,
    scratch: tuple[Table, Table, Table, Table],
    now_s: float,
) -> float:
    """Rates that are max-min fair again, after some links and flows have changed.

    Args:
        flows: in progress, and rows that nobody has.
        links: all.
        crossings: of flows and links.
        counts: one row.
        heap: rows of flows, by the end of each.
        changed: links whose capacity or flows are others.
        fresh: rows of flows that are new, or have another weight or cap.
        scratch: four arrays to work in.
        now_s: the instant.

    Returns:
        When the next flow ends.
    """
    anew, looked_at, keys, names = scratch
    many = wide = 0
    for i in range(len(fresh)):
        many, wide = _join(flows, links, crossings, anew, looked_at, (many, wide), fresh[i])
    for i in range(counts[0].changed):
        link = changed[i]
        links[link].changed = 0
        if not links[link].looked_at:
            links[link].looked_at = 1
            looked_at[wide] = link
            wide += 1
        at = links[link].first
        while at >= 0:
            row = crossings[at].flow
            if flows[row].state == KEPT and flows[row].bottleneck == link:
                many, wide = _join(flows, links, crossings, anew, looked_at, (many, wide), row)
            at = crossings[at].after
    counts[0].changed = 0
    while True:
        _fill(flows, links, crossings, anew, looked_at, (many, wide), keys, names)
        before = many
        many, wide = _widen(flows, links, crossings, anew, looked_at, (many, wide))
        if many == before:
            break
        for i in range(before):
            flows[anew[i]].state = OPEN
    for i in range(wide):
        links[looked_at[i]].looked_at = 0
    for i in range(many):
        row = anew[i]
        flows[row].state = KEPT
        rate_bps = flows[row].level * flows[row].weight
        if flows[row].bottleneck == AT_CAP:
            rate_bps = flows[row].cap_bps
        if rate_bps != flows[row].rate_bps:
            bring_up(flows, row, now_s)
            flows[row].rate_bps = rate_bps
            flows[row].end_s = inf
            if rate_bps > 0:
                flows[row].end_s = now_s + max(flows[row].left_bits, 0.0) / rate_bps
            _sift(flows, heap, counts[0].flows, flows[row].place)
    if counts[0].flows == 0:
        return inf
    return max(flows[heap[0]].end_s, now_s)  # type: ignore[no-any-return]


@njit(cache=True)
def end(
    flows: Table,
    links: Table,
    crossings: Table,
    counts: Table,
    heap: Table,
    changed: Table,
    over: Table,
    now_s: float,
) -> int:
    """Remove the flows that are over by now; their rows are put in ``over``; gives how many."""
    many = 0
    while counts[0].flows > 0:
        row = heap[0]
        rate_bps = flows[row].rate_bps
        left_bits = flows[row].left_bits - rate_bps * (now_s - flows[row].since_s)
        # at the time foretold it is over, whatever rounding says is left; else as flows.is_over
        running = flows[row].end_s > now_s and left_bits > REST_BITS
        if running and (rate_bps == 0.0 or now_s + left_bits / rate_bps > now_s):
            break
        # nothing is left of it, whatever rounding says
        flows[row].left_bits = flows[row].rate_bps = 0.0
        remove(flows, links, crossings, counts, heap, changed, row, now_s)
        over[many] = row
        many += 1
    return many
