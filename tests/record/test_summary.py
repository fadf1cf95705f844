from math import inf, isnan, nan
from pathlib import Path

import pytest

from simfl.record import Trace, TraceWriter
from simfl.record.summary import by_device, summarise
from simfl.work import Manifest, TensorInfo

NODES = [
    ("server", -1, "server", "g3s_xlarge", 0),
    ("pi4-0", 0, "client", "pi4", 30),
    ("pi4-1", 1, "client", "pi4", 30),
    ("pi3", 2, "client", "pi3", 30),
]
DENSE = TensorInfo(name="w", shape=(2, 3), dtype="float32", nonzero=5)
BIAS = TensorInfo(name="b", shape=(1,), dtype="float32", nonzero=1)
# start, end, node, verb, round: two rounds of three clients after 5 s of preparation
ACTIVITIES = [
    (0, 5, "server", "initial", 0),
    (6, 7, "pi4-0", "train", 1),
    (6, 8, "pi4-1", "train", 1),
    (6, 9, "pi3", "train", 1),
    (10, 11, "server", "aggregate", 1),
    (12, 13, "pi4-0", "train", 2),
    (12, 17, "pi3", "train", 2),
    (18, 19, "server", "aggregate", 2),
]
# source, target, round, bytes
TRANSFERS = [
    ("server", "pi4-0", 1, 100),
    ("server", "pi4-1", 1, 100),
    ("server", "pi3", 1, 100),
    ("pi4-0", "server", 1, 40),
    ("pi4-1", "server", 1, 40),
    ("pi3", "server", 1, 40),
]


def trace(path: Path, stop: str) -> Trace:
    writer = TraceWriter(path, NODES, {"scenario": f"stop: {stop}", "seed": 1})
    number = writer.manifest(Manifest(tensors=(DENSE, BIAS)))
    for row in ACTIVITIES:
        writer.append("activities", (*row, "k", number, 0))
    for source, target, round, nbytes in TRANSFERS:
        writer.append("transfers", (5, 6, source, target, round, "k", number, nbytes, 0))
    for round, time_s, accuracy in ((0, 5, 0.1), (1, 11, 0.9), (2, 19, 0.8)):
        writer.append(
            "scores", (time_s, round, "server", "k", accuracy, 1, 6 - round, 0, 0, 50 * time_s)
        )
        writer.append("rounds", (round, time_s, 3 if round else 0))
    writer.close("complete: 2 rounds")
    return Trace(path)


def test_a_run_in_numbers(tmp_path: Path) -> None:
    summary = summarise(trace(tmp_path / "run.h5", "{accuracy: 0.9, consecutive: 1}"))
    assert (summary.rounds, summary.time_s, summary.preparation_s) == (2, 19, 5)
    assert (summary.accuracy, summary.best_accuracy) == (0.8, 0.9)
    assert (summary.target, summary.target_s, summary.target_round) == (0.9, 11, 1)
    # (19 - 5) / 2 a round, of which the slowest clients computed 3 and 5
    assert (summary.round_s, summary.round_compute_s) == (7, 4)
    assert (summary.down_bytes, summary.up_bytes) == (300, 120)
    assert (summary.last_down_bytes, summary.last_up_bytes) == (100, 40)
    assert (summary.size, summary.nonzero) == (7, 4)


@pytest.mark.parametrize(
    "stop", ["{accuracy: 0.9, consecutive: 2}", "{accuracy: 0.95, consecutive: 1}"]
)
def test_a_target_that_was_not_reached(tmp_path: Path, stop: str) -> None:
    summary = summarise(trace(tmp_path / "run.h5", stop))
    assert (summary.target_s, summary.target_round) == (inf, None)


def test_no_target(tmp_path: Path) -> None:
    summary = summarise(trace(tmp_path / "run.h5", "{accuracy: null, consecutive: 1}"))
    assert (summary.target, summary.target_round) == (None, None)
    assert isnan(summary.target_s)


def test_nodes_of_one_device_stand_together(tmp_path: Path) -> None:
    table = by_device(trace(tmp_path / "run.h5", "{accuracy: 0.9, consecutive: 1}"))
    assert list(table[["role", "device", "nodes"]].itertuples(index=False, name=None)) == [
        ("server", "g3s_xlarge", 1),
        ("client", "pi4", 2),
        ("client", "pi3", 1),
    ]
    # the two Pi 4s computed for 2 seconds each
    assert table["busy_s"].tolist() == [7, 2, 8]
    assert table["sent_bytes"].tolist() == [300, 80, 40]
    assert table["received_bytes"].tolist() == [120, 200, 100]


def test_peers_in_numbers(tmp_path: Path) -> None:
    peers = [(name, i, "peer", "pi4", 30) for i, name in enumerate(("a", "b"))]
    writer = TraceWriter(
        tmp_path / "run.h5", peers, {"scenario": "stop: {accuracy: 0.5, consecutive: 1}"}
    )
    number = writer.manifest(Manifest(tensors=(DENSE, BIAS)))
    for row in (
        (0, 1, "a", "initial", 0),
        (0, 2, "b", "initial", 0),
        (1, 4, "a", "train", 1),
        (2, 4, "b", "train", 1),
        (6, 7, "a", "mix", 1),
        (6, 8, "b", "mix", 1),
        (7, 8, "a", "train", 2),
        (8, 9, "a", "mix", 2),
    ):
        writer.append("activities", (*row, "k", number, 0))
    for source, target in (("a", "b"), ("b", "a")):
        writer.append("transfers", (4, 6, source, target, 1, "k", number, 40, 0))
    for node, accuracy, time_s in (("a", 0.4, 7), ("b", 0.8, 8)):
        writer.append("scores", (time_s, 1, node, "k", accuracy, 1, 6, 0, 80, nan))
    for round, end_s in ((0, 2), (1, 8)):
        writer.append("rounds", (round, end_s, 2 * round))
    writer.close("interrupted")
    summary = summarise(Trace(writer.path))
    # b has not mixed for the second time
    assert (summary.peers, summary.rounds, summary.time_s) == (2, 1, 9)
    # from the end of the last preparation to the last mixing
    assert (summary.preparation_s, summary.round_s) == (2, 6)
    assert summary.round_compute_s == 2  # 3 s, then 1 s
    assert summary.accuracy == pytest.approx(0.6)
    assert (summary.target_s, summary.target_round) == (8, 1)
    assert (summary.down_bytes, summary.up_bytes) == (0, 80)
    assert (summary.last_down_bytes, summary.last_up_bytes) == (0, 40)
    table = by_device(Trace(writer.path))
    assert table[["role", "nodes", "sent_bytes"]].values.tolist() == [["peer", 2, 80]]
