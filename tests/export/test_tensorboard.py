import sys
from math import nan
from pathlib import Path

import pytest

from simfl.errors import TraceError
from simfl.export import tensorboard
from simfl.export.tensorboard import Scalar
from simfl.record import Trace, TraceWriter
from simfl.work import Manifest


def trace(path: Path, role: str = "client") -> Trace:
    """Two rounds, evaluated thrice; the first joules are not known."""
    peers = role == "peer"
    nodes = [("a", 0, role, "pi4", 30), ("b", 1, role, "pi4", 30)]
    if not peers:
        nodes.insert(0, ("server", -1, "server", "g3s_xlarge", 0))
    writer = TraceWriter(path, nodes, {"scenario": "name: small", "dataset": "{}"})
    number = writer.manifest(Manifest(tensors=()))
    for row in ((1, 2, "a", "train", 1), (1, 4, "b", "train", 1), (6, 7, "a", "train", 2)):
        writer.append("activities", (*row, "k", number, 0))
    scores = [(0.0, 0, 0.1, nan), (5.0, 1, 0.5, 20.0), (8.5, 2, 0.75, 40.0)]
    for time_s, round, accuracy, joules in scores:
        for node in ("a", "b") if peers else ("server",):
            lower = 0.05 * (node == "b")
            row = (time_s, round, node, "k", accuracy - lower, 2.0, 6, 10 * round, round, joules)
            writer.append("scores", row)
        writer.append("rounds", (round, time_s, 2))
    writer.close("complete: 2 rounds")
    return Trace(path)


class Listed:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.points: list[Scalar] = []

    def add_scalar(self, tag: str, value: float, step: int, walltime: float) -> None:
        self.points.append(Scalar(tag, value, step, walltime))


def test_a_writer_is_given_every_point(tmp_path: Path) -> None:
    writer = Listed()
    count = tensorboard.write(trace(tmp_path / "run.h5"), writer)
    points = writer.points
    assert count == len(points) == 7 * 3 - 1 + 2
    assert [p[1:] for p in points if p.tag == "accuracy"] == [
        (0.1, 0, 0.0),
        (0.5, 1, 5.0),
        (0.75, 2, 8.5),
    ]
    # what is not known is no zero
    assert [p[1:] for p in points if p.tag == "joules"] == [(20.0, 1, 5.0), (40.0, 2, 8.5)]
    assert [p.value for p in points if p.tag == "bytes/down"] == [0, 10, 20]
    # the slowest client's computing, when the round was over
    assert [p[1:] for p in points if p.tag == "round/compute_s"] == [(3.0, 1, 5.0), (1.0, 2, 8.5)]


def test_peers_have_curves_of_their_own(tmp_path: Path) -> None:
    writer = Listed()
    tensorboard.write(trace(tmp_path / "run.h5", "peer"), writer)
    curves: dict[str, list[float]] = {}
    for point in writer.points:
        curves.setdefault(point.tag, []).append(point.value)
    assert {t for t in curves if t.startswith("accuracy")} == {
        *("accuracy", "accuracy/a", "accuracy/b")
    }
    assert curves["accuracy"] == pytest.approx([0.075, 0.475, 0.725])
    assert curves["accuracy/b"] == pytest.approx([0.05, 0.45, 0.7])


# its own imports warn of what becomes of other packages
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_back_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    count = tensorboard.export(trace(tmp_path / "run.h5"), tmp_path / "logs")
    read = EventAccumulator(str(tmp_path / "logs"))
    read.Reload()
    tags = read.Tags()["scalars"]
    assert set(tags) == {*tensorboard._TAGS.values(), "round/compute_s"}
    assert sum(len(read.Scalars(tag)) for tag in tags) == count
    events = read.Scalars("accuracy")
    assert [(e.wall_time, e.step) for e in events] == [(0.0, 0), (5.0, 1), (8.5, 2)]
    assert [e.value for e in events] == pytest.approx([0.1, 0.5, 0.75])


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(TraceError, match=r"pip install 'simfl\[tensorboard\]'"):
        tensorboard.export(trace(tmp_path / "run.h5"), tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
