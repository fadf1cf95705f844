"""Sweeps: what learns the same trains once, what fails is kept apart, what is complete stays."""

import gc
import multiprocessing
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from brief_studies import BRIEF, NAME

import simfl
from simfl import grid, simulation, tasks
from simfl.errors import ExecutorError, ScenarioError, StoreError
from simfl.memo import Store
from simfl.record.schema import COLUMNS
from simfl.record.summary import summarise
from simfl.recording import Progress
from simfl.retiming import points_of
from simfl.simulation import Listeners
from simfl.tasks import name_of

TURNS = 3 * 3
UP = "platform.network.up=1 Mbit/s,9 Mbit/s"
SEEDS = "seed=1,2"


def tables(path: str | Path) -> dict[str, bytes]:
    trace = simfl.Trace(path)
    return {table: trace.raw(table).tobytes() for table in COLUMNS}


def write_scenario(path: Path, *changes: str) -> Path:
    path.write_text(simfl.load(NAME, [*BRIEF, *changes]).as_yaml())
    return path


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A short scenario's file."""
    return write_scenario(tmp_path / "brief.yaml")


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """The store of every run that was begun, to see what it computed."""
    made: list[Store] = []

    class Counted(Store):
        def __init__(self, *args: Any, **names: Any) -> None:
            super().__init__(*args, **names)
            made.append(self)

    monkeypatch.setattr(simulation, "Store", Counted)
    return made


def swept(scenario: Path, folder: Path, *changes: str, **options: Any) -> pd.DataFrame:
    return simfl.sweep(scenario, *changes, folder=folder, executor="inline", **options)


def test_what_differs_in_time_only_trains_once(
    scenario: Path, tmp_path: Path, stores: list[Store]
) -> None:
    seen: list[dict[str, Any]] = []
    found = swept(scenario, tmp_path / "out", UP, SEEDS, on_point=seen.append)
    # points of one seed follow one another
    assert [row["seed"] for row in seen] == [1, 1, 2, 2]
    assert [store.computed.get("train", 0) for store in stores] == [TURNS, 0, TURNS, 0]
    assert found["seed"].tolist() == [1, 2, 1, 2]
    assert found["platform.network.up"].tolist() == ["1 Mbit/s"] * 2 + ["9 Mbit/s"] * 2
    for row, path in zip(found.to_dict("records"), found["trace"], strict=True):
        changes = [f"seed={row['seed']}", f"platform.network.up={row['platform.network.up']}"]
        out = tmp_path / "fresh.h5"
        fresh = simfl.run(simfl.load(scenario, changes), out=out, store=False, executor="inline")
        assert tables(path) == tables(out)
        summary = summarise(fresh)
        for column in ("time_s", "target_s", "rounds", "accuracy", "down_bytes", "up_bytes"):
            assert row[column] == pytest.approx(getattr(summary, column), rel=0, nan_ok=True)
        assert row["status"] == fresh.status


def test_what_is_complete_is_not_run_again(
    scenario: Path, tmp_path: Path, stores: list[Store]
) -> None:
    first = swept(scenario, tmp_path / "out", UP)
    stood = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.h5")}
    del stores[:]
    assert swept(scenario, tmp_path / "out", UP).equals(first)
    assert stores == []
    # a point more, and another order: only what is new is run
    more = swept(scenario, tmp_path / "out", "platform.network.up=9 Mbit/s,2 Mbit/s,1 Mbit/s")
    assert len(stores) == 1
    assert more["time_s"].tolist()[::2] == first["time_s"].tolist()[::-1]
    assert all(path.stat().st_mtime_ns == at for path, at in stood.items())
    # a scenario that was changed since is another one
    swept(write_scenario(scenario, "protocol.rounds=2"), tmp_path / "out", UP)
    assert len(stores) == 3


def test_a_point_that_fails_is_kept_apart(
    scenario: Path, tmp_path: Path, stores: list[Store]
) -> None:
    changes = ["learning.model={name: simple_cnn},{name: lenet_300_100}"]
    device = "platform.devices.pi4.model=pi3,pi4"
    found = swept(scenario, tmp_path / "out", *changes, device)
    failed = found["status"].str.startswith("failed: out of memory")
    assert failed.tolist() == [False, False, True, False]
    assert found["time_s"].isna().tolist() == failed.tolist()
    assert simfl.Trace(found["trace"][2]).status == found["status"][2]
    # it is tried again, and nothing else
    del stores[:]
    again = swept(scenario, tmp_path / "out", *changes, device)
    assert len(stores) == 1
    assert again["status"].tolist() == found["status"].tolist()


def test_all_points_fail(scenario: Path, tmp_path: Path) -> None:
    found = swept(scenario, tmp_path, "platform.devices.pi4.model=pi5,pi6")
    assert list(found.columns) == ["platform.devices.pi4.model", "status", "trace"]
    assert "unknown device 'pi5'" in found["status"][0]
    assert list(tmp_path.glob("*.h5")) == []


def test_unfinished_points_are_resumed_and_spoilt_ones_run_anew(
    scenario: Path, tmp_path: Path
) -> None:
    whole = swept(scenario, tmp_path / "whole", UP)
    names = [Path(path).name for path in whole["trace"]]
    out = tmp_path / "out"

    def stop(now: Progress) -> None:
        if now.round == 2:
            raise KeyboardInterrupt

    one = simfl.load(scenario, ["platform.network.up=1 Mbit/s"])
    with suppress(KeyboardInterrupt):
        simfl.run(one, out=out / names[0], listeners=Listeners(round=stop))
    gc.collect()  # and with the run, its lock
    assert simfl.Trace(out / names[0]).status == "interrupted"
    (out / names[1]).write_bytes((tmp_path / "whole" / names[1]).read_bytes()[:3000])
    found = swept(scenario, out, UP)
    assert found.drop(columns="trace").equals(whole.drop(columns="trace"))
    for name in names:
        assert tables(out / name) == tables(tmp_path / "whole" / name)


# names ---------------------------------------------------------------------------------------


def names_of(scenario: Path, *changes: str) -> list[str]:
    """What the points' traces would be called; nothing is run."""
    points = points_of(changes)
    return [name_of(simfl.load(scenario, [o.text for o in point]), point) for point in points]


def test_names_say_what_differs_and_suit_any_file_system(scenario: Path) -> None:
    up, cohorts = "platform.network.up=1 Mbit/s,0.5 Mbit/s", "protocol.cohort=2,null"
    plugs = ["codec.name=dense", "learning.model.name=simple_cnn"]
    found = names_of(scenario, up, cohorts, *plugs)
    # two keys end in the same word: both are told in full
    named = "codec.name=dense,learning.model.name=simple_cnn"
    assert found == [
        f"fedavg_access_links,up={up},cohort={cohort},{named}"
        for up in ("1_Mbit_s", "0.5_Mbit_s")
        for cohort in ("2", "null")
    ]
    [mapped] = names_of(scenario, "codec={name: coo, dense_when: smaller}")
    assert mapped == "fedavg_access_links,codec=_name_coo,_dense_when_smaller_"
    # whatever else the grid holds, and in whichever order
    assert names_of(scenario, "protocol.cohort=null,2")[1] == names_of(scenario, cohorts)[0]


def test_long_names_are_cut_to_a_digest(scenario: Path) -> None:
    changes = [f"platform.devices.{'x' * 150}={{model: pi4}}", "seed=1,2"]
    one, two = names_of(scenario, *changes)
    assert one != two
    assert all(re.fullmatch(r"fedavg_access_links,[0-9a-f]{32}", name) for name in (one, two))
    assert names_of(scenario, *changes) == [one, two]


def test_points_that_a_name_does_not_tell_apart(scenario: Path, tmp_path: Path) -> None:
    # the same points twice are one trace; what only looks alike is not
    folder = tmp_path / "out"
    twice = swept(scenario, folder, "seed=1,1")
    assert twice["trace"].nunique() == 1
    model = Path(__file__).parent.parent / "device_models" / "pi4.yaml"
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "a" / "pi4.yaml", tmp_path / "a_pi4.yaml"):
        path.write_bytes(model.read_bytes())
    change = f"platform.devices.pi4.model={tmp_path}/a/pi4.yaml,{tmp_path}/a_pi4.yaml"
    found = swept(scenario, folder, change)
    assert found["status"].tolist() == ["complete: 3 rounds"] * 2
    assert found["trace"].nunique() == 2
    stood = [Path(path).stat().st_mtime_ns for path in found["trace"]]
    assert swept(scenario, folder, change).equals(found)
    assert [Path(path).stat().st_mtime_ns for path in found["trace"]] == stood


# mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["protocol.round=1"], "protocol.round=1: protocol.round: unknown key"),
        (["seed=1", "seed=2"], "seed: given twice"),
        (["protocol.rounds=2,0"], "protocol.rounds=0: protocol.rounds: 0 is out of range"),
        (["codec={name: coo},{name: cooo}"], "codec={name: cooo}: codec.name: unknown codec"),
    ],
)
def test_a_point_that_is_no_scenario_is_told_before_anything_is_run(
    scenario: Path, tmp_path: Path, changes: list[str], told: str
) -> None:
    with pytest.raises(ScenarioError) as error:
        swept(scenario, tmp_path / "out", *changes)
    assert str(error.value).startswith(told)
    assert not (tmp_path / "out").exists()


def test_no_jobs(scenario: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="--jobs 0: give 1 or more"):
        swept(scenario, tmp_path / "out", SEEDS, jobs=0)


def test_a_killed_job_is_told(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __enter__(self) -> "Broken":
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, *_: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(BrokenProcessPool())
            return future

    monkeypatch.setattr(grid, "ProcessPoolExecutor", Broken)
    with pytest.raises(ExecutorError, match="sweep again with fewer --jobs: what was run is kept"):
        swept(scenario, tmp_path / "out", SEEDS, jobs=2)


# processes -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_jobs_side_by_side_give_the_same_rows(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # new interpreters would take seconds to import torch
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(grid.multiprocessing, "get_context", lambda _: fork)
    one = swept(scenario, tmp_path / "one", SEEDS)
    two = swept(scenario, tmp_path / "two", SEEDS, jobs=2)
    assert one.drop(columns="trace").equals(two.drop(columns="trace"))
    assert [Path(path).name for path in one["trace"]] == [Path(path).name for path in two["trace"]]
    for here, there in zip(one["trace"], two["trace"], strict=True):
        assert tables(here) == tables(there)


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_store_that_is_gone_ends_a_sweep_which_then_goes_on(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(grid.multiprocessing, "get_context", lambda _: fork)
    play = tasks.trace_of

    def spoilt(task: tasks.Task, *rest: Any) -> simfl.Trace:
        if task.scenario.seed > 1:
            raise StoreError("the store is gone")
        return play(task, *rest)

    changes, seen = ["seed=1,2,3,4"], list[dict[str, Any]]()
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "trace_of", spoilt)
        with pytest.raises(StoreError, match="the store is gone"):
            swept(scenario, tmp_path / "out", *changes, jobs=jobs, on_point=seen.append)
    assert len(seen) <= 1
    assert len(list((tmp_path / "out").glob("*.h5"))) == 1
    found = swept(scenario, tmp_path / "out", *changes, jobs=jobs)
    assert found["status"].str.startswith("complete").all()


def killed(words: list[str | Path], when: Callable[[], bool]) -> None:
    """Start simfl, and SIGKILL it once that is so."""
    process = subprocess.Popen([sys.executable, "-m", "simfl", *map(str, words)])
    while not when():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_sweep_goes_on(scenario: Path, tmp_path: Path) -> None:
    change = "protocol.rounds=12,13"
    whole = swept(scenario, tmp_path / "whole", change)
    out = tmp_path / "out"
    words: list[str | Path] = ["sweep", scenario, change, "--out", out, "--quiet"]
    killed([*words, "--executor", "inline"], lambda: len(list(out.glob("*.h5"))) == 2)
    found = swept(scenario, out, change)
    assert found.drop(columns="trace").equals(whole.drop(columns="trace"))
    for here, there in zip(found["trace"], whole["trace"], strict=True):
        assert tables(here) == tables(there)
    # the locks of killed runs go with their resumption
    assert {path.suffix for path in out.iterdir()} <= {".h5", ""}


def test_a_store_at_a_url(scenario: Path, tmp_path: Path, stores: list[Store]) -> None:
    url = f"memory://{tmp_path.name}/store"
    there = swept(scenario, tmp_path / "a", UP, store=url)
    again = swept(scenario, tmp_path / "b", UP, store=url)
    assert [store.computed.get("train", 0) for store in stores] == [TURNS, 0, 0, 0]
    # values too: more rounds go on from the last kept state
    del stores[:]
    swept(scenario, tmp_path / "c", "protocol.rounds=4", store=url)
    assert [store.computed["train"] for store in stores] == [TURNS // 3]
    local = swept(scenario, tmp_path / "d", UP)
    for found in (there, again):
        assert found.drop(columns="trace").equals(local.drop(columns="trace"))
    assert list((tmp_path / "a").glob(".simfl")) == []
