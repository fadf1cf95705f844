import signal
import subprocess
import sys
from collections.abc import Iterator
from math import inf, isnan, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from simfl.errors import TraceError
from simfl.record import Trace, TraceWriter
from simfl.record import writer as record_writer
from simfl.record.schema import COLUMNS, NONE
from simfl.record.writer import BLOCK, append_rows
from simfl.work import Manifest, TensorInfo

NODES = [("server", -1, "server", "g3s_xlarge", 0), ("pi4-0", 0, "client", "pi4", 60)]
ATTRIBUTES = {"scenario": "name: small\n", "seed": 7, "dataset": {"name": "digits", "digest": "d"}}


def manifest(nonzero: int) -> Manifest:
    """A matrix, a vector and a scalar."""
    infos = (("w", (2, 3), nonzero), ("b", (3,), 3), ("s", (), 1))
    return Manifest(
        tensors=tuple(
            TensorInfo(name=name, shape=shape, dtype="float32", nonzero=stored)
            for name, shape, stored in infos
        )
    )


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[TraceWriter]:
    made = TraceWriter(tmp_path / "runs" / "run.h5", NODES, ATTRIBUTES)
    yield made
    if made._file:
        made.abandon()


def score(round: int, accuracy: float, sent: int = 0) -> tuple[Any, ...]:
    return (
        *(round * 10.0, round, "server", f"score{round}", accuracy, 1 - accuracy, 8),
        *(sent // 2, sent // 2, 3.0 * round),
    )


def with_scores(path: Path, *rows: tuple[Any, ...]) -> Trace:
    """Of a server, which ends each round as it evaluates it."""
    writer = TraceWriter(path, NODES, ATTRIBUTES)
    for row in rows:
        writer.append("scores", row)
        writer.append("rounds", (row[1], row[0], 0))
    writer.close("complete: 9 rounds")
    return Trace(path)


def test_what_is_written_is_read(writer: TraceWriter) -> None:
    number = writer.manifest(manifest(4))
    rows = {
        "activities": (1.5, 2.25, "pi4-0", "train", 3, "k1", number, 0),
        "transfers": (2.25, 4.0, "pi4-0", "server", 3, "k2", number, 123_456_789_012, 1),
        "rounds": (3, 5.0, 1),
        "away": ("pi4-0", 4.0, 4.5, "battery"),
        "metrics": ("k1", "loss", 0.25),
        "scores": (5.0, 3, "server", "k3", 0.75, 0.5, 8, 10, 20, 62.5),
        "energy": ("pi4-0", "idle", 20.0, 60.0),
    }
    for table, row in rows.items():
        writer.append(table, row)
    writer.close("complete: 3 rounds")
    trace = Trace(writer.path)
    for table, row in rows.items():
        frame = getattr(trace, table)
        assert list(frame.columns) == [name for name, _ in COLUMNS[table]]
        assert [tuple(found) for found in frame.itertuples(index=False)] == [row]
    assert [tuple(found) for found in trace.nodes.itertuples(index=False)] == NODES
    assert trace.status == "complete: 3 rounds"
    assert trace.complete
    assert trace.scenario == ATTRIBUTES["scenario"]
    assert trace.attributes["seed"] == 7
    assert trace.dataset == ATTRIBUTES["dataset"]
    assert Trace.open(str(writer.path)).status == trace.status


def test_any_reader_of_hdf5_can_read_it(writer: TraceWriter) -> None:
    writer.append("scores", score(1, 0.5))
    writer.close("complete: 1 round")
    with h5py.File(writer.path) as file:
        assert file["scores"][0]["accuracy"] == 0.5
        assert file["nodes"]["node"].tolist() == [b"server", b"pi4-0"]


def test_a_manifest_is_written_once(writer: TraceWriter) -> None:
    numbers = [writer.manifest(manifest(n)) for n in (4, 5, 4, 4, 5)]
    assert numbers == [0, 1, 0, 0, 1]
    writer.close("complete")
    frame = Trace(writer.path).manifests
    assert [tuple(row) for row in frame.itertuples(index=False)] == [
        (number, name, shape, "float32", size, stored, False)
        for number, nonzero in ((0, 4), (1, 5))
        for name, shape, size, stored in (
            ("w", "2x3", 6, nonzero),
            ("b", "3", 3, 3),
            ("s", "", 1, 1),
        )
    ]


def test_what_was_recorded_need_not_be_computed(writer: TraceWriter) -> None:
    number = writer.manifest(manifest(4))
    writer.append("activities", (0, 1, "server", "initial", 0, "k1", number, 0))
    # what was cut has no result
    writer.append("activities", (1, 2, "pi4-0", "train", 1, "k3", NONE, 1))
    row = (1, 2, "server", "pi4-0", 1, "k2", writer.manifest(manifest(5)), 9, 0)
    writer.append("transfers", row)
    writer.append("metrics", ("k4", "loss", 0.5))
    writer.append("scores", score(1, 0.75))
    writer.close("interrupted")
    assert Trace(writer.path).recorded() == {
        "k1": manifest(4),
        "k2": manifest(5),
        "k4": Manifest(metrics={"loss": 0.5}),
        "score1": Manifest(metrics={"accuracy": 0.75, "loss": 0.25}),
    }


def test_an_empty_trace_has_empty_tables(writer: TraceWriter) -> None:
    writer.close("interrupted")
    trace = Trace(writer.path)
    assert not trace.complete
    for table in ("activities", "transfers", "scores", "manifests"):
        frame = getattr(trace, table)
        assert len(frame) == 0
        assert list(frame.columns) == [name for name, _ in COLUMNS[table]]
    assert trace.recorded() == {}
    assert trace.time_to_accuracy(0.5) == inf
    assert isnan(trace.accuracy_at_bytes(10**9))


def test_a_trace_is_readable_while_it_is_written(writer: TraceWriter) -> None:
    writer.append("scores", score(1, 0.5))
    assert len(Trace(writer.path).scores) == 0
    writer.flush()
    trace = Trace(writer.path)
    assert (trace.status, len(trace.scores)) == ("running", 1)


def test_a_full_block_is_written_with_all_that_waits(writer: TraceWriter) -> None:
    number = writer.manifest(manifest(4))
    writer.append("scores", score(1, 0.5))
    for i in range(BLOCK + 1):
        writer.append("activities", (i, i + 1, "server", "train", i, f"k{i}", number, 0))
    trace = Trace(writer.path)
    assert [len(trace.raw(t)) for t in ("activities", "scores", "manifests")] == [BLOCK, 1, 3]


KILLED = """
import os, signal, sys
from pathlib import Path
from simfl.record import TraceWriter
from simfl.work import Manifest, TensorInfo

nodes = [("server", -1, "server", "pi4", 0)]
writer = TraceWriter(Path(sys.argv[1]), nodes, {"scenario": "name: small", "seed": 1})
for i in range(5000):
    info = TensorInfo(name="w", shape=(9, 9), dtype="float32", nonzero=i // 100)
    number = writer.manifest(Manifest(tensors=(info,)))
    writer.append("activities", (i, i + 1, "server", "train", i, f"k{i}", number, 0))
    if i % 10 == 0:
        writer.append("scores", (i, i, "server", f"s{i}", 0.5, 0.5, 9, i, i, i))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_trace_whose_writer_was_killed_holds_whole_blocks(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    trace = Trace(path)
    assert (trace.status, trace.complete) == ("running", False)
    assert trace.scenario == "name: small"
    activities, scores = trace.activities, trace.scores
    assert len(activities) == 2 * BLOCK
    assert activities["round"].tolist() == list(range(2 * BLOCK))
    assert activities["key"].tolist() == [f"k{i}" for i in range(2 * BLOCK)]
    assert scores["round"].tolist() == list(range(0, 2 * BLOCK, 10))
    # no row names a manifest that was lost
    assert set(activities["manifest"]) == set(trace.manifests["manifest"]) == set(range(41))
    assert len(trace.recorded()) == len(activities) + len(scores)


def one_line(path: Path, words: str) -> None:
    with pytest.raises(TraceError) as error:
        Trace(path)
    assert str(error.value) == f"{path}: {words}"
    assert "\n" not in str(error.value)


NO_FILE = "no such file; give the HDF5 file of a run"
NO_TRACE = "not a whole trace; give the HDF5 file of a run"
OTHER = "not a trace of this version of simfl; run the scenario again"


def test_what_is_no_trace(tmp_path: Path) -> None:
    one_line(tmp_path / "none.h5", NO_FILE)
    one_line(tmp_path, NO_TRACE)
    (tmp_path / "text.h5").write_text("name: small\n" * 1000)
    one_line(tmp_path / "text.h5", NO_TRACE)
    (tmp_path / "empty.h5").write_bytes(b"")
    one_line(tmp_path / "empty.h5", NO_TRACE)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = np.arange(3)
    one_line(tmp_path / "foreign.h5", OTHER)


def test_a_trace_of_another_version(writer: TraceWriter) -> None:
    writer.close("complete")
    with h5py.File(writer.path, "a") as file:
        file.attrs["schema_version"] = 99
    one_line(writer.path, OTHER)


def test_a_trace_without_a_table(writer: TraceWriter) -> None:
    writer.close("complete")
    with h5py.File(writer.path, "a") as file:
        del file["scores"]
    one_line(writer.path, NO_TRACE)


@pytest.mark.parametrize("share", [0.0, 0.6, 0.8, 0.99, 1.0])
def test_a_trace_cut_short(writer: TraceWriter, share: float) -> None:
    for i in range(2 * BLOCK):
        writer.append("activities", (i, i + 1, "server", "train", i, f"k{i}", 0, 0))
    writer.close("complete")
    data = writer.path.read_bytes()
    cut = writer.path.with_name("cut.h5")
    cut.write_bytes(data[: min(int(len(data) * share), len(data) - 1)])
    one_line(cut, NO_TRACE)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match=r"run\.h5: cannot write the trace: .*; free space, or"):
        TraceWriter(tmp_path / "file" / "run.h5", NODES, {})
    with pytest.raises(TraceError, match="cannot write the trace: ") as error:
        TraceWriter(tmp_path, NODES, {})
    assert "\n" not in str(error.value)


REPEAT = (3, 12.5, inf, 4, 0.75, 10, 20, nan, nan, 2, "complete: 4 rounds")


def test_rows_are_added_to_a_finished_trace(writer: TraceWriter) -> None:
    writer.append("scores", score(1, 0.5))
    writer.close("complete: 9 rounds")
    before = Trace(writer.path)
    assert len(before.repeats) == 0
    for n in range(3):
        rows = [(n, *REPEAT[1:]), REPEAT][: 1 + (n == 2)]
        append_rows(writer.path, {"repeats": rows})
    trace = Trace(writer.path)
    assert trace.repeats["draw"].tolist() == [0, 1, 2, 3]
    row = trace.repeats.iloc[3].to_dict()
    assert isnan(row.pop("joules"))
    assert isnan(row.pop("target_joules"))
    assert tuple(row.values()) == (3, 12.5, inf, 4, 0.75, 10, 20, 2, "complete: 4 rounds")
    assert trace.status == before.status
    assert all(
        trace.raw(table).tobytes() == before.raw(table).tobytes()
        for table in COLUMNS
        if table != "repeats"
    )
    assert [path.name for path in writer.path.parent.iterdir()] == ["run.h5"]


def test_a_table_that_an_early_trace_lacks_is_made(writer: TraceWriter) -> None:
    writer.close("complete: 9 rounds")
    with h5py.File(writer.path, "r+", libver="latest") as file:
        del file["repeat_curves"]
    assert Trace(writer.path).repeat_curves.empty
    rows = [(1, 0, 0.5, 0.1, nan), (1, 1, 2.5, 0.2, nan)]
    append_rows(writer.path, {"repeats": [REPEAT], "repeat_curves": rows})
    trace = Trace(writer.path)
    assert trace.repeat_curves["time_s"].tolist() == [0.5, 2.5]
    assert len(trace.repeats) == 1


@pytest.mark.parametrize("rows", [[REPEAT, (1, "no number", *REPEAT[2:])], [REPEAT[:4]]])
def test_rows_that_cannot_be_added_change_nothing(
    writer: TraceWriter, rows: list[tuple[Any, ...]]
) -> None:
    writer.close("complete: 9 rounds")
    before = writer.path.read_bytes()
    with pytest.raises(TraceError, match=r"run\.h5: cannot write the trace: "):
        append_rows(writer.path, {"repeats": rows})
    assert writer.path.read_bytes() == before
    assert [path.name for path in writer.path.parent.iterdir()] == ["run.h5"]


def test_rows_are_not_added_to_a_full_disk(
    writer: TraceWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.close("complete: 9 rounds")
    free = writer.path.stat().st_size + 2**20 - 1
    monkeypatch.setattr(record_writer, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(TraceError, match="no space left"):
        append_rows(writer.path, {"repeats": [REPEAT]})
    assert len(Trace(writer.path).repeats) == 0


ACCURACIES = [0.1, 0.9, 0.95, 0.4, 0.9, 0.91, 0.92]


@pytest.mark.parametrize(
    ("target", "consecutive", "round"),
    [
        (0.9, 1, 1),
        (0.9, 2, 2),
        (0.9, 3, 6),  # the count begins anew after 0.4
        (0.9, 4, None),
        (0.95, 1, 2),
        (0.95, 2, None),
        (0.1, 1, 0),
        (0.0, 7, 6),
        (0.99, 1, None),
    ],
)
def test_time_to_accuracy(
    tmp_path: Path, target: float, consecutive: int, round: int | None
) -> None:
    trace = with_scores(tmp_path / "run.h5", *(score(i, a) for i, a in enumerate(ACCURACIES)))
    assert trace.rounds_to_accuracy(target, consecutive) == round
    expected = inf if round is None else round * 10.0
    assert trace.time_to_accuracy(target, consecutive) == expected


@pytest.mark.parametrize(
    ("budget", "accuracy"),
    [(99, nan), (100, 0.5), (199, 0.5), (200, 0.9), (299, 0.9), (300, 0.4), (10**12, 0.4)],
)
def test_accuracy_at_a_budget_of_bytes(tmp_path: Path, budget: int, accuracy: float) -> None:
    rows = [score(1, 0.5, 100), score(2, 0.9, 200), score(3, 0.4, 300)]
    trace = with_scores(tmp_path / "run.h5", *rows)
    assert trace.accuracy_at_bytes(budget) == pytest.approx(accuracy, nan_ok=True)


PEERS = [("a", 0, "peer", "pi4", 30), ("b", 1, "peer", "pi4", 30)]


def test_of_peers_the_mean_counts_once_the_last_is_there(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "run.h5", PEERS, ATTRIBUTES)
    # time, round, node, accuracy, sent: b is a round ahead, and a does not end the last one
    for time_s, round, node, accuracy, sent in (
        (1, 1, "b", 0.5, 10),
        (3, 2, "b", 0.75, 30),
        (4, 1, "a", 0.25, 40),
        (6, 2, "a", 0.25, 50),
        (7, 3, "b", 1.0, 60),
    ):
        writer.append(
            "scores", (time_s, round, node, "k", accuracy, 0.5, 8 + round, 0, sent, 5 * time_s)
        )
    for round, end_s in ((1, 4), (2, 6)):
        writer.append("rounds", (round, end_s, 2))
    writer.close("interrupted")
    trace = Trace(writer.path)
    assert trace.peers == ["a", "b"]
    assert [tuple(row) for row in trace.curve.itertuples(index=False)] == [
        (1, 4, 0, 40, 20, 0.375, 0.5, 9),
        (2, 6, 0, 50, 30, 0.5, 0.5, 10),
    ]
    assert list(trace.curve.columns) == [
        *("round", "time_s", "down_bytes", "up_bytes", "joules", "accuracy", "loss", "nonzero")
    ]
    assert (trace.time_to_accuracy(0.5), trace.rounds_to_accuracy(0.5)) == (6, 2)
    assert trace.time_to_accuracy(0.6) == inf
    assert trace.accuracy_at_bytes(49) == 0.375


def test_with_a_server_the_curve_is_the_scores(tmp_path: Path) -> None:
    trace = with_scores(tmp_path / "run.h5", *(score(i, a) for i, a in enumerate(ACCURACIES)))
    assert trace.peers == []
    assert trace.curve["accuracy"].tolist() == trace.scores["accuracy"].tolist()
    assert trace.curve["time_s"].tolist() == trace.scores["time_s"].tolist()
