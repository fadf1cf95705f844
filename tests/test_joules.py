"""Joules of whole runs: closed forms, conservation, and what cannot be held as a result."""

from math import inf, isnan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import simfl
from simfl.errors import DeviceMemoryError
from simfl.record.summary import by_device, summarise
from simfl.resources import find

ALONE: dict[str, Any] = {"store": False, "executor": "inline"}
SMOKE, RING = "smoke/fedavg_access_links", "smoke/ring"
BRIEF = [
    "learning.model={name: simple_cnn}",
    "learning.local.epochs=null",
    "learning.local.steps=2",
    "protocol={name: synchronous, rounds: 2}",
    "record.evaluate_every=1",
    "stop={}",
]
SOURCE = {"kind": "measured", "source": "the bench in the corner", "log_sd": 0.1}
WATTS = {"idle": 2.0, "busy": 5.0, "transmit": 1.5, "receive": 0.5}


def board(path: Path, watts: dict[str, float] | None, **changes: Any) -> Path:
    """A Pi 4 with other watts."""
    source = find("device_models", "pi4")
    assert source is not None
    data = yaml.safe_load(source.read_text()) | {"name": path.stem} | changes
    data["power"] = {k: {"value": f"{v} W", **SOURCE} for k, v in (watts or {}).items()} or None
    path.write_text(yaml.safe_dump({k: v for k, v in data.items() if v is not None}))
    return path


def played(out: Path, *changes: str, name: str = SMOKE) -> simfl.Trace:
    return simfl.run(simfl.load(name, [*BRIEF, *changes]), out=out, **ALONE)


def one_client(tmp_path: Path, *changes: str, **more: Any) -> simfl.Trace:
    device = board(tmp_path / "bench.yaml", WATTS, **more)
    devices = f"{{server: {{model: g3s_xlarge}}, a: {{model: {device}}}}}"
    return played(tmp_path / "run.h5", f"platform.devices={devices}", *changes)


def lasting(rows: pd.DataFrame) -> float:
    return float((rows["end_s"] - rows["start_s"]).sum())


def of(trace: simfl.Trace, node: str, column: str) -> dict[str, float]:
    rows = trace.energy[trace.energy["node"] == node]
    return dict(zip(rows["kind"], rows[column], strict=True))


def test_one_client_of_known_watts(tmp_path: Path) -> None:
    trace = one_client(tmp_path)
    computed = lasting(trace.activities[trace.activities["node"] == "a"])
    up = lasting(trace.transfers[trace.transfers["source"] == "a"])
    down = lasting(trace.transfers[trace.transfers["target"] == "a"])
    end_s = float(trace.activities["end_s"].max())
    assert min(computed, up, down) > 0
    assert of(trace, "a", "seconds") == {
        "idle": pytest.approx(end_s - computed, rel=1e-12),
        "compute": pytest.approx(computed, rel=1e-12),
        "transmit": pytest.approx(up, rel=1e-12),
        "receive": pytest.approx(down, rel=1e-12),
    }
    expected = 2 * end_s + 3 * computed + 1.5 * up + 0.5 * down
    summary = summarise(trace)
    assert summary.joules == pytest.approx(expected, rel=1e-12)
    assert not summary.radio_missing
    # the server's device has no watts: its joules are unknown, and apart
    assert isnan(summary.server_joules)
    # the last evaluation is at the end
    assert trace.scores["joules"].iloc[-1] == pytest.approx(expected, rel=1e-9)


def test_joules_up_to_an_evaluation(tmp_path: Path) -> None:
    trace = one_client(tmp_path)
    at_s = float(trace.scores["time_s"][1])
    busy = trace.activities[(trace.activities["node"] == "a") & (trace.activities["end_s"] <= at_s)]
    moved = trace.transfers[trace.transfers["end_s"] <= at_s]
    expected = 2 * at_s + 3 * lasting(busy)
    expected += 1.5 * lasting(moved[moved["source"] == "a"])
    expected += 0.5 * lasting(moved[moved["target"] == "a"])
    assert trace.scores["joules"][1] == pytest.approx(expected, rel=1e-12)
    reached = float(trace.scores["accuracy"][1])
    assert trace.joules_to_accuracy(reached) <= trace.scores["joules"][1]
    assert trace.joules_to_accuracy(1.1) == inf


@pytest.mark.parametrize("name", [SMOKE, RING])
def test_seconds_are_conserved(tmp_path: Path, name: str) -> None:
    changes = ["protocol.rounds=2", "record.evaluate_every=1"]
    trace = simfl.run(simfl.load(name, changes), out=tmp_path / "run.h5", **ALONE)
    seconds = trace.energy.pivot(index="node", columns="kind", values="seconds")
    end_s = float(trace.activities["end_s"].max())
    assert seconds["idle"].tolist() == pytest.approx(
        (end_s - seconds["compute"]).tolist(), abs=1e-9
    )
    spans = trace.activities.assign(s=trace.activities["end_s"] - trace.activities["start_s"])
    computed = spans.groupby("node")["s"].sum().reindex(seconds.index, fill_value=0.0)
    assert seconds["compute"].tolist() == pytest.approx(computed.tolist(), rel=1e-9, abs=1e-12)
    # a radio is on while at least one message is on its way, and not longer
    for side, kind in (("source", "transmit"), ("target", "receive")):
        for node, rows in trace.transfers.groupby(side):
            assert seconds[kind][node] == pytest.approx(_union(rows), rel=1e-9)


def _union(rows: pd.DataFrame) -> float:
    total, until = 0.0, -inf
    for start_s, end_s in sorted(zip(rows["start_s"], rows["end_s"], strict=True)):
        total += max(0.0, end_s - max(start_s, until))
        until = max(until, end_s)
    return total


def test_what_was_cut_is_charged_for_the_time_it_ran(tmp_path: Path) -> None:
    whole = one_client(tmp_path)
    training = whole.activities[whole.activities["verb"] == "train"].iloc[0]
    half_s = float(training["start_s"] + training["end_s"]) / 2
    cut = one_client(tmp_path, f"stop.time={half_s!r} s")
    assert "passed" in cut.status
    assert not len(cut.activities[cut.activities["verb"] == "train"])
    earlier = lasting(cut.activities[cut.activities["node"] == "a"])
    spent = of(cut, "a", "seconds")
    assert spent["compute"] == pytest.approx(earlier + half_s - training["start_s"], rel=1e-9)
    assert spent["idle"] + spent["compute"] == pytest.approx(half_s, rel=1e-12)

    sent = whole.transfers[whole.transfers["source"] == "a"].iloc[0]
    middle_s = float(sent["start_s"] + sent["end_s"]) / 2
    cut = one_client(tmp_path, f"stop.time={middle_s!r} s")
    assert not len(cut.transfers[cut.transfers["source"] == "a"])
    assert of(cut, "a", "seconds")["transmit"] == pytest.approx(
        middle_s - sent["start_s"], rel=1e-9
    )


def test_joules_of_a_device_without_watts_are_unknown(tmp_path: Path) -> None:
    known, unknown = (
        board(tmp_path / f"{n}.yaml", w) for n, w in (("known", WATTS), ("none", None))
    )
    devices = f"{{server: {{model: g3s_xlarge}}, a: {{model: {known}}}, b: {{model: {unknown}}}}}"
    trace = played(
        tmp_path / "run.h5", f"platform.devices={devices}", "stop={accuracy: 0.01, consecutive: 2}"
    )
    assert not any(map(isnan, of(trace, "a", "joules").values()))
    assert all(map(isnan, of(trace, "b", "joules").values()))
    assert all(seconds > 0 for seconds in of(trace, "b", "seconds").values())
    summary = summarise(trace)
    assert isnan(summary.joules)
    assert isnan(summary.target_joules)
    assert trace.scores["joules"].isna().all()
    joules = by_device(trace).set_index("device")["joules"]
    assert joules["known"] > 0
    assert isnan(joules["none"])


def test_a_radio_without_watts_adds_nothing_and_is_told(tmp_path: Path) -> None:
    changes = "platform.devices={server: {model: g3s_xlarge}, a: {model: pi4}}"
    trace = played(tmp_path / "run.h5", changes)
    summary = summarise(trace)
    assert summary.radio_missing
    spent, seconds = of(trace, "a", "joules"), of(trace, "a", "seconds")
    assert isnan(spent["transmit"])
    # the board's figures: 3 W idle, 6 W busy
    assert summary.joules == pytest.approx(3 * seconds["idle"] + 6 * seconds["compute"], rel=1e-12)


def test_the_share_of_a_battery(tmp_path: Path) -> None:
    trace = one_client(tmp_path, battery={"value": "10 Wh", **SOURCE})
    row = by_device(trace).set_index("role").loc["client"]
    assert row["battery"] == pytest.approx(summarise(trace).joules / 36_000, rel=1e-12)
    assert by_device(trace).set_index("role")["battery"].isna()["server"]


def test_whatif_tells_joules(tmp_path: Path) -> None:
    trace = one_client(tmp_path, "stop={accuracy: 0.01, consecutive: 2}")
    points = simfl.whatif(trace, "platform.network.up=5 Mbit/s,1 Mbit/s")
    assert points["joules"][0] == pytest.approx(summarise(trace).joules, rel=1e-12)
    assert points["target_joules"][0] == summarise(trace).target_joules
    assert points["joules"][1] > points["joules"][0]


# memory: what cannot be held is a result -----------------------------------------------------


def small(path: Path, size: str) -> Path:
    return board(path, WATTS, ram={"value": size, **SOURCE})


def test_out_of_memory_in_a_study_is_a_row(tmp_path: Path) -> None:
    device = small(tmp_path / "small.yaml", "301 MiB")
    trace = one_client(tmp_path)
    models = f"platform.devices.a.model={device},pi4"
    points = simfl.whatif(trace, models)
    assert points["status"][0].startswith("failed: out of memory: device 'small' cannot train")
    assert "; batches of " in points["status"][0]
    assert points["status"][1].startswith("complete: ")


def test_a_device_that_fails_late_leaves_what_was_until_then(tmp_path: Path) -> None:
    device = small(tmp_path / "small.yaml", "301 MiB")
    changes = (
        f"platform.devices={{server: {{model: g3s_xlarge}}, a: {{model: pi4, count: 3}}, "
        f"b: {{model: {device}}}}}",
        "protocol={name: synchronous, rounds: 9, cohort: 1}",
    )
    out = tmp_path / "run.h5"
    with pytest.raises(DeviceMemoryError, match="take another device, batch size or model"):
        played(out, *changes)
    trace = simfl.Trace(out)
    assert trace.status.startswith("failed: out of memory")
    ended = trace.activities[trace.activities["verb"] == "aggregate"]["round"].tolist()
    assert ended == list(range(1, len(ended) + 1))
    assert 0 < len(ended) < 9
    # the initial model's evaluation, and each round's
    assert trace.scores["round"].tolist() == list(range(len(ended) + 1))
    assert set(trace.energy["node"]) == {"server", "a-0", "a-1", "a-2", "b"}
