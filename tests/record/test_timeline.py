"""The timeline: in its format, and with the trace's sums."""

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simfl.record import Trace, TraceWriter
from simfl.record.export import write_tables
from simfl.record.schema import COLUMNS
from simfl.record.timeline import RUN, events, write
from simfl.work import Manifest, TensorInfo

NAMES = ("server", "pi4-0", "pi3-0")
NODES = [
    ("server", -1, "server", "g3s_xlarge", 0),
    ("pi4-0", 0, "client", "pi4", 60),
    ("pi3-0", 1, "client", "pi3", 60),
]
SCENARIO = "name: small\nstop: {accuracy: 0.5, consecutive: 1}\n"
TENSOR = TensorInfo(name="w", shape=(3, 4), dtype="float32", nonzero=5)
PER_S = 1_000_000_000


@dataclass
class Rows:
    """Of the tables that a timeline shows."""

    activities: list[tuple[Any, ...]] = field(default_factory=list)
    transfers: list[tuple[Any, ...]] = field(default_factory=list)
    scores: list[tuple[Any, ...]] = field(default_factory=list)
    links: list[tuple[Any, ...]] = field(default_factory=list)
    rounds: list[tuple[Any, ...]] = field(default_factory=list)
    away: list[tuple[Any, ...]] = field(default_factory=list)


def traced(path: Path, rows: Rows, status: str = "complete: 1 round") -> Trace:
    path.unlink(missing_ok=True)
    writer = TraceWriter(path, NODES, {"scenario": SCENARIO, "seed": 3})
    number = writer.manifest(Manifest(tensors=(TENSOR,)))
    for start_s, end_s, node, verb in rows.activities:
        writer.append("activities", (start_s, end_s, node, verb, 1, "k", number, 0))
    for start_s, end_s, source, target, nbytes in rows.transfers:
        writer.append("transfers", (start_s, end_s, source, target, 1, "k", number, nbytes, 0))
    for table in ("scores", "links", "rounds", "away"):
        for row in getattr(rows, table):
            writer.append(table, row)
    writer.close(status)
    return Trace(path)


SMALL = Rows(
    activities=[
        (0.0, 0.0, "server", "initial"),
        (0.3, 0.3, "pi4-0", "adopt"),
        (0.3, 1.7, "pi4-0", "train"),
        (0.5, 0.6, "pi3-0", "adopt"),
        (0.6, 4.000000001, "pi3-0", "train"),
        (5.5, 5.75, "server", "aggregate"),
    ],
    transfers=[
        (0.0, 0.3, "server", "pi4-0", 1000),
        (0.0, 0.5, "server", "pi3-0", 1000),
        (1.7, 5.0, "pi4-0", "server", 2**53 + 1),
        (4.000000001, 5.5, "pi3-0", "server", 700),
    ],
    scores=[
        (0.0, 0, "server", "s0", 0.1, 2.5, 12, 0, 0, 0.0),
        (5.75, 1, "server", "s1", 0.625, nan, 5, 2000, 2**53 + 701, nan),
    ],
    links=[
        ("pi4-0 up", "bit", 100.0, 90.0, 10.0, 0.0, 95.0, 0.25),
        ("pi4-0 down", "bit", 100.0, 100.0, 0.0, 0.0, 100.0, 0.5),
    ],
    rounds=[(0, 0.0, 0), (1, 5.75, 2)],
    away=[("pi4-0", 5.0, 5.5, "left")],
)


def seconds() -> st.SearchStrategy[float]:
    return st.floats(0, 100_000, allow_subnormal=False)


@st.composite
def histories(draw: st.DrawFn) -> Rows:
    """Anything with ends behind starts: also what no run does, such as two trainings at once."""
    span = st.tuples(seconds(), seconds()).map(sorted)
    node = st.sampled_from(NAMES)
    bytes_ = st.integers(0, 10**12)
    activity = st.tuples(span, node, st.sampled_from(("train", "adopt", "aggregate")))
    transfer = st.tuples(span, st.permutations(NAMES), bytes_)
    return Rows(
        activities=[(*s, n, v) for s, n, v in draw(st.lists(activity, max_size=12))],
        transfers=[(*s, p[0], p[1], b) for s, p, b in draw(st.lists(transfer, max_size=12))],
    )


def checked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events that hold to the format, or a failure.

    They are its phases M, X and C alone, with the fields that each must have; every process and
    thread has one name; the slices of a thread follow each other; a flow leaves one slice and
    enters one other.
    """
    named: Counter[tuple[Any, ...]] = Counter()
    threads: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    flows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    processes = set()
    for event in found:
        json.dumps(event, allow_nan=False)
        phase, pid = event["ph"], event["pid"]
        assert type(pid) is int
        assert pid > 0
        processes.add(pid)
        if phase == "M":
            assert event.keys() == {"ph", "name", "pid", "tid", "args"}
            assert event["name"] in ("process_name", "thread_name")
            assert event["args"].keys() == {"name"}
            named[event["name"], pid, event["tid"] * (event["name"] == "thread_name")] += 1
            continue
        assert event["ts"] >= 0
        assert event["name"]
        if phase == "C":
            assert event.keys() == {"ph", "pid", "name", "ts", "args"}
            assert all(isinstance(value, int | float) for value in event["args"].values())
            assert event["args"]
            continue
        assert phase == "X"
        assert event["dur"] >= 0
        assert event["cat"] in ("run", "link", "round", "away", "compute", "send", "receive")
        assert named["thread_name", pid, event["tid"]] == 1, "a thread is named before its slices"
        threads[pid, event["tid"]].append(event)
        if "bind_id" in event:
            assert ("flow_out" in event) != ("flow_in" in event)
            flows[event["bind_id"]].append(event)
    assert set(named.values()) <= {1}
    assert {pid for what, pid, _ in named if what == "process_name"} == processes
    tids = [tid for _, tid in threads]
    assert len(set(tids)) == len(tids)
    assert not set(tids) & processes
    for slices in threads.values():
        spans = [(ns(e["ts"]), ns(e["ts"]) + ns(e["dur"])) for e in slices]
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
    for ends in flows.values():
        out, into = sorted(ends, key=lambda e: "flow_in" in e)
        assert (out["cat"], into["cat"]) == ("send", "receive")
        assert out["pid"] != into["pid"]
        assert all(out[same] == into[same] for same in ("ts", "dur", "args"))
    return found


def ns(microseconds: float) -> int:
    """A whole number of nanoseconds, as trace_processor reads it."""
    assert round(microseconds, 3) == microseconds
    return round(microseconds * 1000)


def rounded_ns(column: "pd.Series[float]") -> "pd.Series[int]":
    return (column * PER_S).round().astype("int64")


def process_names(found: list[dict[str, Any]]) -> dict[int, str]:
    """The node's name, without what stands behind it."""
    return {
        e["pid"]: e["args"]["name"].partition(" ")[0] for e in found if e["name"] == "process_name"
    }


def slices(found: list[dict[str, Any]]) -> pd.DataFrame:
    name_of = process_names(found)
    rows = [
        (name_of[e["pid"]], e["cat"], e["name"], ns(e["dur"]), e["args"].get("nbytes", 0))
        for e in found
        if e["ph"] == "X"
    ]
    return pd.DataFrame(rows, columns=["node", "cat", "name", "dur_ns", "nbytes"])


def integral_bits(found: list[dict[str, Any]], name: str) -> dict[str, float]:
    """By process, of a counter of rates."""
    steps = defaultdict(list)
    for event in found:
        if event["ph"] == "C" and event["name"] == name:
            steps[process_names(found)[event["pid"]]].append((event["ts"], event["args"]["bps"]))
    for points in steps.values():
        assert points[-1][1] == 0
        assert all(one[0] < other[0] for one, other in pairwise(points))
    return {
        process: sum(one[1] * (other[0] - one[0]) / 1e6 for one, other in pairwise(points))
        for process, points in steps.items()
    }


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_sums_of_the_events_are_those_of_the_trace(tmp_path: Path, rows: Rows) -> None:
    trace = traced(tmp_path / "run.h5", rows)
    found = checked(list(events(trace)))
    drawn = slices(found)
    activities, transfers = trace.activities, trace.transfers
    spent_ns = rounded_ns(activities["end_s"]) - rounded_ns(activities["start_s"])
    expected = spent_ns.groupby([activities["node"], activities["verb"]]).sum()
    computed = drawn[drawn["cat"] == "compute"].groupby(["node", "name"])["dur_ns"].sum()
    assert computed.to_dict() == expected.to_dict()
    exact_s = (activities["end_s"] - activities["start_s"]).sum()
    assert abs(computed.sum() / PER_S - exact_s) <= 1e-9 * len(activities) + 1e-12 * exact_s
    for cat, side in (("send", "source"), ("receive", "target")):
        bytes_ = drawn[drawn["cat"] == cat].groupby("node")["nbytes"].sum()
        assert bytes_.to_dict() == transfers.groupby(side)["nbytes"].sum().to_dict()
    # what takes no nanosecond has no rate
    lasted = transfers[rounded_ns(transfers["end_s"]) > rounded_ns(transfers["start_s"])]
    total = int(lasted["nbytes"].sum())
    took_s = lasted["end_s"] - lasted["start_s"]
    # a float's rest of the highest rate, as long as any message goes on
    rest = 1e-15 * len(lasted) * (8 * lasted["nbytes"] / took_s).max() * took_s.sum()
    near = {"rel": 1e-6, "abs": 1e-3 + (rest if len(lasted) else 0)}
    for name, side in (("sending", "source"), ("receiving", "target")):
        bits = integral_bits(found, name)
        if name == "sending":
            assert bits.pop("run", 0.0) == pytest.approx(8 * total, **near)
        expected = (8 * lasted.groupby(side)["nbytes"].sum()).to_dict()
        assert bits == pytest.approx(expected, **near)


def test_rounds_follow_one_another_and_who_is_away_is_shown(tmp_path: Path) -> None:
    drawn = slices(checked(list(events(traced(tmp_path / "run.h5", SMALL)))))
    rounds = drawn[drawn["cat"] == "round"]
    assert rounds["name"].tolist() == ["round 0", "round 1"]
    assert rounds["dur_ns"].sum() == 5.75 * PER_S
    [away] = drawn[drawn["cat"] == "away"].to_dict("records")
    assert (away["node"], away["name"], away["dur_ns"]) == ("pi4-0", "left", 0.5 * PER_S)


def test_what_overlaps_takes_further_threads(tmp_path: Path) -> None:
    found = checked(list(events(traced(tmp_path / "run.h5", SMALL))))
    name_of = process_names(found)
    threads = [(name_of[e["pid"]], e["args"]["name"]) for e in found if e["name"] == "thread_name"]
    assert sorted(t for t in threads if t[0] == "server") == [
        ("server", name) for name in ("compute", "receive", "receive 2", "send", "send 2")
    ]
    assert ("pi4-0", "send 2") not in threads
    assert [name for process, name in threads if process == "links"] == ["pi4-0 up", "pi4-0 down"]


def test_slices_say_what_the_trace_knows_of_them(tmp_path: Path) -> None:
    found = list(events(traced(tmp_path / "run.h5", SMALL, "interrupted")))
    of = {(e["cat"], e["name"]): e for e in found if e["ph"] == "X"}
    counts = {"round": 1, "key": "k", "manifest": 0, "cut": 0, "size": 12, "nonzero": 5}
    assert of["compute", "aggregate"]["args"] == counts
    assert of["send", "to server"]["args"] == counts | {"nbytes": 700}
    assert of["run", "small"]["args"] == {"status": "interrupted", "seed": 3}
    assert ns(of["run", "small"]["dur"]) == 5_750_000_000
    link = of["link", "pi4-0 up"]
    assert link["args"]["busy"] == 0.25
    assert (link["args"]["unit"], link["args"]["cut"]) == ("bit", 10.0)


def test_counters_follow_the_scores_and_leave_out_what_is_not_known(tmp_path: Path) -> None:
    found = list(events(traced(tmp_path / "run.h5", SMALL)))
    counted = [
        (process_names(found)[e["pid"]], e["name"], ns(e["ts"]), e["args"])
        for e in found
        if e["ph"] == "C" and e["name"] not in ("sending", "receiving")
    ]
    assert counted == [
        ("server", "test", 0, {"accuracy": 0.1, "loss": 2.5}),
        ("server", "model", 0, {"nonzero": 12}),
        ("run", "sent", 0, {"down_bytes": 0, "up_bytes": 0}),
        ("run", "spent", 0, {"joules": 0.0}),
        ("server", "test", 5_750_000_000, {"accuracy": 0.625}),
        ("server", "model", 5_750_000_000, {"nonzero": 5}),
        ("run", "sent", 5_750_000_000, {"down_bytes": 2000, "up_bytes": 2**53 + 701}),
    ]


def test_a_rate_holds_as_long_as_its_message(tmp_path: Path) -> None:
    rows = Rows(
        transfers=[(0.0, 4.0, "server", "pi4-0", 4), (2.0, 3.0, "server", "pi3-0", 5)],
    )
    found = list(events(traced(tmp_path / "run.h5", rows)))
    rates = [(e["ts"] / 1e6, e["args"]["bps"]) for e in found if e["ph"] == "C" and e["pid"] == RUN]
    assert rates == [(0, 8), (2, 48), (3, 8), (4, 0)]


def test_an_empty_trace_has_a_run_that_took_no_time(tmp_path: Path) -> None:
    found = checked(list(events(traced(tmp_path / "run.h5", Rows(), "running"))))
    (only,) = [e for e in found if e["ph"] != "M"]
    assert (only["name"], only["dur"], only["args"]["status"]) == ("small", 0, "running")


def test_a_link_without_a_share_still_opens(tmp_path: Path) -> None:
    rows = Rows(links=[("cell", "s", nan, inf, 0.0, 0.0, 1.0, nan)])
    found = checked(list(events(traced(tmp_path / "run.h5", rows))))
    assert found[-1]["args"] == {"unit": "s", "cut": 0.0, "waiting": 0.0, "used": 1.0}


@pytest.mark.parametrize("name", ["out.json", "out.json.gz"])
def test_a_file_is_one_json_value_and_repeats_itself(tmp_path: Path, name: str) -> None:
    trace = traced(tmp_path / "run.h5", SMALL)
    number = write(trace, tmp_path / name)
    raw = (tmp_path / name).read_bytes()
    read = json.loads(gzip.decompress(raw) if name.endswith("gz") else raw)
    assert read["traceEvents"] == list(events(trace))
    assert len(read["traceEvents"]) == number
    write(trace, tmp_path / f"again-{name}")
    assert (tmp_path / f"again-{name}").read_bytes() == raw


def test_events_come_one_at_a_time(tmp_path: Path) -> None:
    found = events(traced(tmp_path / "run.h5", SMALL))
    assert isinstance(found, Iterator)
    assert next(found)["name"] == "process_name"


def test_tables_read_back_as_they_are(tmp_path: Path) -> None:
    trace = traced(tmp_path / "run.h5", SMALL)
    paths = write_tables(trace, tmp_path / "csv", "csv")
    assert [path.stem for path in paths] == list(COLUMNS)
    for path in paths:
        header, *lines = csv.reader(path.read_text().splitlines())
        held = getattr(trace, path.stem)
        assert header == list(held.columns)
        assert len(lines) == len(held)
        for column, texts in zip(header, zip(*lines, strict=True), strict=bool(lines)):
            kind = held[column].dtype.kind
            read = [
                float(t or nan) if kind == "f" else int(t) if kind in "iu" else t for t in texts
            ]
            for value, expected in zip(read, held[column].tolist(), strict=True):
                assert value == expected or (value != value and expected != expected)


def test_parquet_has_types_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    trace = traced(tmp_path / "run.h5", SMALL)
    for path in write_tables(trace, tmp_path, "parquet"):
        held = getattr(trace, path.stem)
        pd.testing.assert_frame_equal(pd.read_parquet(path), held, check_dtype=len(held) > 0)
