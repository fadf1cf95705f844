"""The critical path of each round: the chain of doings that its length is made of.

It is followed backwards from the doing that ended the round: what ended at a node at the instant
at which the next thing began there is what that waited for. A message leads to its sender. Where
nothing came to its end at that instant (a deadline, a period between rounds, a node that was away),
the path waits since the last thing that did. Of several that ended at once, the one that began last
counts; messages that took no time are followed only where nothing else ended.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean
from typing import Final

import pandas as pd

from simfl.record.reader import Trace

PARTS: Final = ("downlink", "compute", "uplink", "server", "wait")
"""What a round's length is split into; between peers, all messages are uplink, as in `scores`."""
_SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class Doing:
    """A stretch of a path.

    Attributes:
        node: who computes or waits; of a message to or from the server its other end, between peers
            the sender.
        comes_from: the node at which what led to it is looked for.
    """

    start_s: float
    end_s: float
    part: str
    node: str
    comes_from: str


def path_of(trace: Trace) -> pd.DataFrame:
    """The critical paths, one row for each doing, from each finished round's begin to its end.

    The first round begins when the last node has its initial state, each other one where the one
    before ended; what began before is cut there.

    Returns:
        Columns ``round``, ``start_s``, ``end_s``, ``part`` (one of `PARTS`) and ``node``.
    """
    doings = _doings(trace)
    rows = []
    for round, start_s, end_s, node in _rounds(trace):
        path = list(_followed(doings, node, start_s, end_s))
        rows += [(round, d.start_s, d.end_s, d.part, d.node) for d in reversed(path)]
    return pd.DataFrame(rows, columns=["round", "start_s", "end_s", "part", "node"])


def critical_path(trace: Trace) -> pd.DataFrame:
    """Seconds of each finished round by part.

    Returns:
        One row per round; columns ``round``, ``start_s``, ``length_s``, and for each of `PARTS` its
        seconds, ``downlink_s`` and so on. These add up to the length.
    """
    path = path_of(trace)
    path["seconds"] = path["end_s"] - path["start_s"]
    table = path.pivot_table(index="round", columns="part", values="seconds", aggfunc="sum")
    table = table.reindex(columns=list(PARTS)).fillna(0.0).add_suffix("_s")
    rounds = path.groupby("round")
    table.insert(0, "start_s", rounds["start_s"].min())
    table.insert(1, "length_s", rounds["end_s"].max() - table["start_s"])
    return table.rename_axis(columns=None).reset_index()


def waiting(trace: Trace) -> pd.Series[float]:
    """By finished round, how long a participant waited for the others: the mean.

    Of those that did something between the round's begin and its end, the seconds in between in
    which they neither computed nor sent nor received.
    """
    busy = _busy(trace)
    found = {}
    for round, start_s, end_s, _ in _rounds(trace):
        waits = []
        for begins, ends in busy.values():
            first, last = bisect_right(ends, start_s), bisect_left(begins, end_s)
            if first < last:
                stretches = zip(begins[first:last], ends[first:last], strict=True)
                done_s = sum(min(b, end_s) - max(a, start_s) for a, b in stretches)
                waits.append(end_s - start_s - done_s)
        if waits:
            found[round] = fmean(waits)
    return pd.Series(found, dtype=float).rename_axis("round")


def _busy(trace: Trace) -> dict[str, tuple[list[float], list[float]]]:
    """Of each client or peer, the begins and ends of its stretches of doing, none touching."""
    names = ["start_s", "end_s", "node"]
    sent = trace.transfers
    every = pd.concat(
        [trace.activities[names]]
        + [sent.rename(columns={side: "node"})[names] for side in ("source", "target")]
    ).sort_values("start_s", kind="stable")
    found: dict[str, tuple[list[float], list[float]]] = {}
    for start_s, end_s, node in every.itertuples(index=False, name=None):
        if node == _SERVER or end_s <= start_s:
            continue
        begins, ends = found.setdefault(node, ([], []))
        if ends and start_s <= ends[-1]:
            ends[-1] = max(ends[-1], end_s)
        else:
            begins.append(start_s)
            ends.append(end_s)
    return found


def _rounds(trace: Trace) -> Iterator[tuple[int, float, float, str]]:
    """Of each finished round that took time: its begin and end, and whose doing ended it."""
    activities = trace.activities
    begun = activities["end_s"][activities["verb"] == "initial"]
    start_s = float(begun.max()) if len(begun) else 0.0
    ends = activities[activities["verb"] == ("mix" if trace.peers else "aggregate")]
    rounds = ends.sort_values("end_s", kind="stable").groupby("round")
    last = rounds[["end_s", "node"]].last()
    last = last[last.index.isin(trace.rounds["round"])]
    for round, end_s, node in zip(
        last.index.tolist(), last["end_s"].tolist(), last["node"].tolist(), strict=True
    ):
        if end_s > start_s:
            yield round, start_s, end_s, node
            start_s = end_s


def _doings(trace: Trace) -> dict[str, list[Doing]]:
    """What ended at each node, in the order in which it did."""
    found: dict[str, list[Doing]] = {}
    # what was cut led to nothing
    activities = trace.activities[trace.activities["cut"] == 0]
    for start_s, end_s, node in zip(
        *(activities[name].tolist() for name in ("start_s", "end_s", "node")), strict=True
    ):
        # what took no time explains none
        if end_s > start_s:
            part = "server" if node == _SERVER else "compute"
            found.setdefault(node, []).append(Doing(start_s, end_s, part, node, node))
    transfers = trace.transfers[trace.transfers["cut"] == 0]
    for start_s, end_s, source, target in zip(
        *(transfers[name].tolist() for name in ("start_s", "end_s", "source", "target")),
        strict=True,
    ):
        part, at = ("downlink", target) if source == _SERVER else ("uplink", source)
        found.setdefault(target, []).append(Doing(start_s, end_s, part, at, source))
    for doings in found.values():
        doings.sort(key=lambda doing: (doing.end_s, doing.end_s > doing.start_s, doing.start_s))
    return found


def _followed(
    doings: dict[str, list[Doing]], node: str, start_s: float, end_s: float
) -> Iterator[Doing]:
    """From a round's end back to its begin, without a gap."""
    now_s, seen = end_s, set[int]()
    while now_s > start_s:
        here = doings.get(node, [])
        at = bisect_right(here, now_s, key=attrgetter("end_s")) - 1
        # a message that took no time is followed once, or two of them would lead in a circle
        while at >= 0 and id(here[at]) in seen:
            at -= 1
        last = here[at] if at >= 0 else None
        if last is None or last.end_s < now_s:
            since_s = start_s if last is None else max(start_s, last.end_s)
            yield Doing(since_s, now_s, "wait", node, node)
            now_s = since_s
            continue
        seen.add(id(last))
        if last.end_s > last.start_s:
            begun_s = max(start_s, last.start_s)
            yield Doing(begun_s, now_s, last.part, last.node, last.comes_from)
            now_s = begun_s
        node = last.comes_from
