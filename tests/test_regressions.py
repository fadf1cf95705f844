"""Bugs that were met once: each must stay mended."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from simfl.codecs.coo import Coo, CooOptions
from simfl.errors import ReplayMiss, ScenarioError
from simfl.memo import Recipe, Store
from simfl.record import Trace, TraceWriter
from simfl.record.summary import summarise
from simfl.scenario import loads
from simfl.tensors import Layout
from simfl.units import parse
from simfl.work import Manifest


def grow(value: int) -> int:
    return value + 1


def chain(store: Store, n: int) -> Any:
    state: Any = 0
    for _ in range(n):
        state = store.promise(Recipe(grow, "grow v1", (state,)))
    return state


def test_making_promises_computes_nothing() -> None:
    store = Store(lambda value: Manifest(metrics={"value": float(value)}))
    state = chain(store, 10)
    assert store.computed == {}
    assert state.value == 10
    del state
    frozen = Store(lambda value: Manifest(), frozen=True)
    last = chain(frozen, 3)
    with pytest.raises(ReplayMiss):
        _ = last.value


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_trace_cut_within_its_head(tmp_path: Path, share: float) -> None:
    writer = TraceWriter(tmp_path / "run.h5", [("server", -1, "server", "pi4", 0)], {"seed": 1})
    for i in range(4096):
        writer.append("activities", (i, i + 1, "server", "train", i, f"k{i}", 0, 0))
    writer.close("complete")
    data = (tmp_path / "run.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    code = f"from simfl.record import Trace; Trace({str(tmp_path / 'cut.h5')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert "TraceError" in done.stderr


def test_report_of_a_run_killed_before_its_first_block(tmp_path: Path) -> None:
    writer = TraceWriter(
        tmp_path / "run.h5",
        [("server", -1, "server", "pi4", 0)],
        {"scenario": "stop: {accuracy: null, consecutive: 1}"},
    )
    writer.close("interrupted")
    assert summarise(Trace(tmp_path / "run.h5")).size == 0


def test_names_beyond_ascii(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "run.h5", [("père", 0, "client", "pi4", 0)], {"seed": 1})
    writer.append("activities", (0, 1, "père", "train", 1, "k", 0, 0))
    writer.close("failed: " + "é" * 200)
    trace = Trace(tmp_path / "run.h5")
    assert trace.nodes["node"].tolist() == ["père"]
    assert trace.status.startswith("failed: é")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("{name: coo}", "{dense_when: unpruned}"),
        ("name: lenet_300_100", "name:"),
        ("seed: 1", "seed: 2001-99-99"),
        ("seed: 1", "seed: !!float abc"),
        ("seed: 1", "seed: &x [*x]"),
        ("time: 3 h", "time: 1e999 h"),
        ("pi4: {model: pi4}", "pi3-0: {model: pi4}"),
    ],
)
def test_a_mistake_is_one_line(scenario_text: str, good: str, bad: str) -> None:
    text = scenario_text.replace(good, bad)
    if "pi3-0" in bad:
        text = text.replace("    rates:\n      pi4: 30 Mbit/s\n", "")
    with pytest.raises(ScenarioError):
        loads(text)


def test_an_override_date_that_is_none(scenario_text: str) -> None:
    with pytest.raises(ScenarioError):
        loads(scenario_text, overrides=["seed=2001-99-99"])


def test_an_override_changes_one_of_two_aliases(scenario_text: str) -> None:
    text = scenario_text.replace("{model: pi3, count: 2}", "&d {model: pi3, count: 2}")
    text = text.replace("pi4: {model: pi4}", "pi4: *d")
    devices = loads(text, overrides=["platform.devices.pi3.count=5"]).platform.devices
    assert (devices["pi3"].count, devices["pi4"].count) == (5, 2)


def test_two_readings_of_one_file_are_equal(scenario_text: str) -> None:
    assert loads(scenario_text) == loads(scenario_text)


def test_a_group_named_like_a_network(scenario_text: str) -> None:
    text = scenario_text.replace("pi3: {model: pi3, count: 2}", "access_links: {modl: pi3}")
    with pytest.raises(ScenarioError, match=r"platform\.devices\.access_links\.modl: unknown"):
        loads(text)


def test_infinity_is_no_quantity() -> None:
    with pytest.raises(ValueError, match=r"is not a time|out of range"):
        parse("1e999 s", "time")


def test_more_entries_than_the_matrix_has() -> None:
    with pytest.raises(ValueError, match="100"):
        Coo(CooOptions()).decode(b"\x64" + b"\0" * 24, Layout(("w",), ((2, 3),)))


def test_the_name_covers_shape_and_classes(make_problem: Any, toy: Any) -> None:
    from dataclasses import replace

    other = replace(toy, classes=4)
    assert make_problem(dataset=other).name != make_problem().name
    wide = replace(
        toy,
        train_images=toy.train_images.reshape(60, 1, 2, 8),
        test_images=toy.test_images.reshape(12, 1, 2, 8),
    )
    assert make_problem(dataset=wide).name != make_problem().name


def test_work_counts_the_samples_that_are_trained_on(make_problem: Any) -> None:
    from simfl.learning.sgd import turn_batches
    from simfl.registry import ALGORITHMS
    from simfl.work import Turn

    plugin = ALGORITHMS.get("fedavg")
    problem = make_problem(steps=6)  # 15 samples: 4 4 4 3 4 4
    algorithm = plugin.build(plugin.options(), problem)
    work = algorithm.work["train"](algorithm, algorithm.forecast(), Turn(0, 1))
    real = sum(len(torch.arange(15)[b]) for b in turn_batches(problem.local, 15, Turn(0, 1), 1))
    assert work.samples == real


def test_what_plans_leave_in_memory_goes_once_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    from weakref import ref

    import simfl
    from simfl import simulation

    def planned() -> Any:
        parts, _ = simfl.plan(simfl.load("smoke/fedavg_access_links"))
        return ref(parts.problem)

    gc.disable()
    try:
        left = planned()
        assert left() is not None
        monkeypatch.setattr(simulation, "_LEFT_BYTES", 0)
        planned()
        assert left() is None
    finally:
        gc.enable()
