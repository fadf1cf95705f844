import json
from pathlib import Path

from simfl.record import Trace, TraceWriter
from simfl.record.shown import line, table
from simfl.work import Manifest, TensorInfo

NODES = [("server", -1, "server", "g3s_xlarge", 0), ("pi4", 0, "client", "pi4", 30)]
SCENARIO = """
learning: {model: {name: lenet5}, algorithm: {name: fedavg}}
stop: {accuracy: %s, consecutive: 1}
"""


def trace(path: Path, *, target: str = "0.9", ended: str = "complete: 1 rounds") -> Trace:
    attributes = {
        "scenario": SCENARIO % target,
        "dataset": json.dumps({"asked": "<mnist>", "name": "digits", "stands_in": True}),
    }
    writer = TraceWriter(path, NODES, attributes)
    tensor = TensorInfo(name="w", shape=(2, 3), dtype="float32", nonzero=6)
    number = writer.manifest(Manifest(tensors=(tensor,)))
    for row in (
        (0, 1, "server", "initial", 0),
        (2, 3, "pi4", "train", 1),
        (4, 5, "server", "aggregate", 1),
    ):
        writer.append("activities", (*row, "k", number, 0))
    writer.append("transfers", (1, 2, "server", "pi4", 1, "k", number, 1024, 0))
    writer.append("transfers", (3, 4, "pi4", "server", 1, "k", number, 512, 0))
    writer.append("rounds", (1, 5, 1))
    writer.append("scores", (5, 1, "server", "k", 0.8125, 1, 6, 1024, 512, 40))
    for kind, joules in (("idle", 10), ("compute", 30), ("transmit", float("nan"))):
        writer.append("energy", ("pi4", kind, 1, joules))
    writer.close(ended)
    return Trace(path)


def test_a_trace_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    assert repr(trace(path)) == (
        f"<Trace {path}: fedavg on lenet5, digits for <mnist>, rounds 1, accuracy 0.8125, "
        "simulated 5.0 s, to 0.9 not reached, sent 1.50 KiB, energy 40 J without radios>"
    )


def test_a_target_that_was_reached_and_a_run_that_was_killed(tmp_path: Path) -> None:
    text = line(trace(tmp_path / "run.h5", target="0.5", ended="running"))
    assert "rounds 1 (not complete)" in text
    assert "to 0.5 5.0 s" in text


def test_the_table_escapes_what_it_shows(tmp_path: Path) -> None:
    html = table(trace(tmp_path / "run.h5", target="null"))
    assert html.startswith("<table>")
    assert "&lt;mnist&gt;" in html
    assert "<mnist>" not in html
    assert html.count("<tr>") == 6
    assert trace(tmp_path / "run2.h5")._repr_html_().count("<tr>") == 7


def test_a_repr_does_not_fail(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "odd.h5", NODES, {"scenario": "name: odd", "dataset": "{}"})
    writer.close("failed")
    assert repr(Trace(tmp_path / "odd.h5")) == f"<Trace {tmp_path / 'odd.h5'}: failed>"
