"""A trace as Chrome trace events: what ui.perfetto.dev and trace_processor open.

A process is the run, the links, or a node; a thread is what it does, one thing at a time. What
overlaps, as the messages of a server do, takes further threads (`send 2`), since the slices of one
thread may nest but not cross. A message is a slice at its sender and one at its receiver, and a
flow between them, which is drawn as an arrow.

Format: "Trace Event Format", Google, docs.google.com/document/d/
1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (phases M, X and C; flows by `bind_id`).
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import yaml
from numpy.typing import NDArray

from simfl.record.reader import Trace

Event: TypeAlias = dict[str, Any]
Rows: TypeAlias = np.ndarray[Any, np.dtype[np.void]]

RUN: Final = 1
"""Process of the run as a whole. 0 is the idle process of an operating system."""
LINKS: Final = 2
"""Process of the links."""
NODES: Final = 3
"""Process of the first node; the others follow, in the order of the table ``nodes``."""
NS_PER_S: Final = 1_000_000_000
"""trace_processor counts in whole nanoseconds; the format in microseconds, with decimals."""
_CHUNK: Final = 4096


def events(trace: Trace) -> Iterator[Event]:
    """Everything that happened, a process after the other, not in the order of time."""
    tracks = _Tracks(trace)
    yield from tracks.processes()
    yield from _whole(trace, tracks)
    yield from _links(trace, tracks)
    yield from _rounds(trace, tracks)
    yield from _away(trace, tracks)
    yield from _computing(trace, tracks)
    yield from _messages(trace, tracks)
    yield from _rates(trace, tracks)
    yield from _scores(trace, tracks)


def write(trace: Trace, path: Path) -> int:
    """Write all events to a file, one at a time; compressed if its name ends in ``.gz``.

    Returns:
        How many there are.

    Raises:
        OSError: it cannot be written.
    """
    encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    written = 0
    with path.open("wb") as raw:
        # neither name nor time of the file: two exports of a trace are the same bytes
        packed = gzip.GzipFile("", "wb", 6, raw, 0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file:
            file.write('{"displayTimeUnit":"ms","traceEvents":[')
            for written, event in enumerate(events(trace), 1):
                file.write(("\n" if written == 1 else ",\n") + encode(event))
            file.write("\n]}\n")
    return written


class _Tracks:
    """Numbers of processes and threads; a thread is named when it is first used."""

    def __init__(self, trace: Trace) -> None:
        self._nodes = trace.nodes
        self._pids = {name: NODES + i for i, name in enumerate(self._nodes["node"])}
        self._tids: dict[tuple[int, str], int] = {}
        # no thread has the number of a process: that would be its main thread
        self._free = count(NODES + len(self._pids))

    def processes(self) -> Iterator[Event]:
        """Their names."""
        yield _named("process_name", RUN, RUN, "run")
        yield _named("process_name", LINKS, LINKS, "links")
        for name, role, device in zip(
            self._nodes["node"], self._nodes["role"], self._nodes["device"], strict=True
        ):
            label = f"{name} ({role}, {device})"
            yield _named("process_name", self._pids[name], self._pids[name], label)

    def pid(self, node: bytes) -> int:
        """The process of a node."""
        return self._pids[node.decode()]

    def slice(self, pid: int, thread: str, start_ns: int, end_ns: int) -> Iterator[Event]:
        """A slice without a name, behind its thread's name if that is new."""
        key = (pid, thread)
        if key not in self._tids:
            self._tids[key] = next(self._free)
            yield _named("thread_name", pid, self._tids[key], thread)
        times = {"ts": start_ns / 1000, "dur": (end_ns - start_ns) / 1000}
        yield {"ph": "X", "pid": pid, "tid": self._tids[key], **times}


class _Lanes:
    """Threads of one kind and process; whoever comes takes the first that is free.

    >>> lanes = _Lanes("send")
    >>> [lanes.take(start_ns, end_ns) for start_ns, end_ns in ((0, 5), (2, 4), (4, 9), (5, 6))]
    ['send', 'send 2', 'send 2', 'send']
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._busy: list[tuple[int, int]] = []
        self._free: list[int] = []
        self._made = 0

    def take(self, start_ns: int, end_ns: int) -> str:
        """The name of a free one; starts must not fall."""
        while self._busy and self._busy[0][0] <= start_ns:
            heappush(self._free, heappop(self._busy)[1])
        if self._free:
            lane = heappop(self._free)
        else:
            self._made = lane = self._made + 1
        heappush(self._busy, (end_ns, lane))
        return self._name if lane == 1 else f"{self._name} {lane}"


def _named(what: str, pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _ns(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(seconds * NS_PER_S).astype(np.int64)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Without inf and nan, for which JSON has no word."""
    return {k: v for k, v in values.items() if not isinstance(v, float) or isfinite(v)}


def _whole(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    """The run as one slice, which says how it ended."""
    *names, made = tracks.slice(RUN, "run", 0, _end_ns(trace))
    yield from names
    scenario = yaml.safe_load(trace.scenario)
    told = {"status": trace.status, "seed": int(trace.attributes.get("seed", -1))}
    yield made | {"name": str(scenario.get("name", "run")), "cat": "run", "args": told}


def _end_ns(trace: Trace) -> int:
    ends = [trace.raw(table)["end_s"] for table in ("activities", "transfers", "rounds", "away")]
    return int(_ns(np.concatenate([*ends, trace.raw("scores")["time_s"], [0.0]])).max())


def _links(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    """A slice over the whole run for each link: a trace has what crossed it, not when."""
    end_ns = _end_ns(trace)
    for row in trace.links.to_dict("records"):
        *names, made = tracks.slice(LINKS, str(row["link"]), 0, end_ns)
        yield from names
        args = _known({str(k): v for k, v in row.items() if k != "link"})
        yield made | {"name": row["link"], "cat": "link", "args": args}


def _rounds(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    """One after another, each from the end of the one before."""
    start_ns = 0
    rows = trace.raw("rounds")
    for number, end_ns, updates in zip(
        rows["round"].tolist(), _ns(rows["end_s"]).tolist(), rows["updates"].tolist(), strict=True
    ):
        *names, made = tracks.slice(RUN, "rounds", start_ns, end_ns)
        yield from names
        yield made | {"name": f"round {number}", "cat": "round", "args": {"updates": updates}}
        start_ns = end_ns


def _away(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    rows = trace.raw("away")
    spells = zip(_ns(rows["start_s"]).tolist(), _ns(rows["end_s"]).tolist(), strict=True)
    for row, (start_ns, end_ns) in zip(rows, spells, strict=True):
        *names, made = tracks.slice(tracks.pid(row["node"]), "away", start_ns, end_ns)
        yield from names
        yield made | {"name": row["why"].decode(), "cat": "away", "args": {}}


def _counts(trace: Trace) -> dict[int, dict[str, int]]:
    """By manifest: all entries, and those stored."""
    sums = trace.manifests.groupby("manifest")[["size", "nonzero"]].sum()
    columns = (sums.index.tolist(), sums["size"].tolist(), sums["nonzero"].tolist())
    return {
        number: {"size": size, "nonzero": nonzero}
        for number, size, nonzero in zip(*columns, strict=True)
    }


def _in_order(rows: Rows) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Rows by start, then end: number, start, end, and the other columns."""
    start_ns, end_ns = _ns(rows["start_s"]), _ns(rows["end_s"])
    order = np.lexsort((end_ns, start_ns))
    names = rows.dtype.names or ()
    for first in range(0, len(order), _CHUNK):
        chunk = order[first : first + _CHUNK]
        times = zip(chunk.tolist(), start_ns[chunk].tolist(), end_ns[chunk].tolist(), strict=True)
        for (number, start, end), values in zip(times, rows[chunk].tolist(), strict=True):
            columns = dict(zip(names, values, strict=True))
            del columns["start_s"], columns["end_s"]
            columns["key"] = columns["key"].decode()
            yield number, start, end, columns


def _computing(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    counts = _counts(trace)
    lanes: dict[int, _Lanes] = {}
    for _, start_ns, end_ns, row in _in_order(trace.raw("activities")):
        pid, verb = tracks.pid(row.pop("node")), row.pop("verb").decode()
        lane = lanes.setdefault(pid, _Lanes("compute")).take(start_ns, end_ns)
        *names, made = tracks.slice(pid, lane, start_ns, end_ns)
        yield from names
        args = row | counts.get(row["manifest"], {})
        yield made | {"name": verb, "cat": "compute", "args": args}


def _messages(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    counts = _counts(trace)
    lanes: dict[tuple[int, str], _Lanes] = {}
    for number, start_ns, end_ns, row in _in_order(trace.raw("transfers")):
        source, target = row.pop("source"), row.pop("target")
        args = row | counts.get(row["manifest"], {})
        for side, node, name, flow in (
            ("send", source, f"to {target.decode()}", "flow_out"),
            ("receive", target, f"from {source.decode()}", "flow_in"),
        ):
            pid = tracks.pid(node)
            lane = lanes.setdefault((pid, side), _Lanes(side)).take(start_ns, end_ns)
            *names, made = tracks.slice(pid, lane, start_ns, end_ns)
            yield from names
            arrow = {"bind_id": hex(number + 1), flow: True}
            yield made | {"name": name, "cat": side, **arrow, "args": args}


def _rates(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    """What each node sends and receives: the sum of the mean rates of its messages in progress."""
    rows = trace.raw("transfers")
    for side, column in (("sending", "source"), ("receiving", "target")):
        nodes, code = np.unique(rows[column], return_inverse=True)
        order = np.argsort(code, kind="stable")
        bounds = np.searchsorted(code[order], np.arange(len(nodes) + 1))
        for i, node in enumerate(nodes.tolist()):
            yield from _rate(tracks.pid(node), side, rows[order[bounds[i] : bounds[i + 1]]])
    yield from _rate(RUN, "sending", rows)


def _rate(pid: int, name: str, rows: Rows) -> Iterator[Event]:
    """A counter whose integral is the bits of the messages; those that took no time are not in."""
    start_ns, end_ns = _ns(rows["start_s"]), _ns(rows["end_s"])
    lasted = end_ns > start_ns
    start_ns, end_ns = start_ns[lasted], end_ns[lasted]
    bps = rows["nbytes"][lasted] * 8 * (NS_PER_S / (end_ns - start_ns))
    time_ns = np.concatenate((start_ns, end_ns))
    order = np.argsort(time_ns, kind="stable")
    time_ns = time_ns[order]
    total_bps = np.cumsum(np.concatenate((bps, -bps))[order])
    going = np.cumsum(np.repeat((1, -1), len(bps))[order])
    # sums of floats leave a rest; and of what changes at one instant, the last counts
    total_bps = np.where(going == 0, 0.0, np.maximum(total_bps, 0.0))
    last = np.flatnonzero(np.append(np.diff(time_ns) > 0, [True] * (len(time_ns) > 0)))
    for time, value in zip(time_ns[last].tolist(), total_bps[last].tolist(), strict=True):
        yield _counter(pid, name, time, {"bps": value})


def _scores(trace: Trace, tracks: _Tracks) -> Iterator[Event]:
    rows = trace.raw("scores")
    time_ns = _ns(rows["time_s"]).tolist()
    for i in np.argsort(rows["time_s"], kind="stable").tolist():
        row = dict(zip(rows.dtype.names or (), rows[i].tolist(), strict=True))
        holder = tracks.pid(row["node"])
        for pid, name, columns in (
            (holder, "test", ("accuracy", "loss")),
            (holder, "model", ("nonzero",)),
            (RUN, "sent", ("down_bytes", "up_bytes")),
            (RUN, "spent", ("joules",)),
        ):
            known = _known({column: row[column] for column in columns})
            if known:
                yield _counter(pid, name, time_ns[i], known)


def _counter(pid: int, name: str, time_ns: int, values: dict[str, float]) -> Event:
    """trace_processor calls a counter by this name and the key of the value: `test accuracy`."""
    return {"ph": "C", "pid": pid, "name": name, "ts": time_ns / 1000, "args": values}
