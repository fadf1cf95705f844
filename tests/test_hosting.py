"""What runs the training, and where what was computed is kept: no figure depends on either."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import simfl
from simfl.cli import main
from simfl.errors import ExecutorError, StoreError
from simfl.hosting import Host, cores, store_beside
from simfl.memo import Inline
from simfl.memo.auto import Auto
from simfl.memo.executor import Batched
from simfl.memo.pool import Pool
from simfl.record.schema import COLUMNS
from simfl.recording import Progress
from simfl.simulation import Listeners, Outcome, build

SMOKE = ("smoke/fedavg_access_links", "smoke/prunefl_federated", "smoke/ring")
PRUNEFL = "smoke/prunefl_federated"


def tables(trace: simfl.Trace) -> dict[str, bytes]:
    return {table: trace.raw(table).tobytes() for table in COLUMNS}


def played(name: str, out: Path, *changes: str, **options: Any) -> tuple[simfl.Trace, Outcome]:
    """A run, and what it computed."""
    outcomes: list[Outcome] = []
    listeners = Listeners(end=outcomes.append)
    trace = simfl.run(simfl.load(name, changes), out=out, listeners=listeners, **options)
    return trace, outcomes[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The smoke runs, one computation after the other, without a store."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        name: tables(played(name, folder / f"{i}.h5", store=False, executor="inline")[0])
        for i, name in enumerate(SMOKE)
    }


@pytest.mark.parametrize("executor", ["batched", "pool", "auto"])
@pytest.mark.parametrize("name", SMOKE)
def test_whichever_executor_the_tables_are_the_same(
    alone: dict[str, dict[str, bytes]], tmp_path: Path, name: str, executor: str
) -> None:
    trace, outcome = played(name, tmp_path / "run.h5", store=False, executor=executor, workers=2)
    assert tables(trace) == alone[name]
    assert outcome.computed["train"] == (trace.activities["verb"] == "train").sum()
    assert outcome.executor.startswith(executor) or (executor == "auto" and outcome.executor)


@pytest.mark.parametrize("name", SMOKE)
def test_a_second_run_trains_nothing_and_writes_the_same(
    alone: dict[str, dict[str, bytes]], tmp_path: Path, name: str
) -> None:
    first, anew = played(name, tmp_path / "first.h5", executor="batched")
    again, found = played(name, tmp_path / "again.h5", executor="pool")
    assert tables(first) == tables(again) == alone[name]
    assert anew.computed["train"] > 0
    assert found.computed == {}
    assert found.found["train"] >= anew.computed["train"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".simfl", "again.h5", "first.h5"]


def test_a_longer_run_trains_what_is_new_from_what_was_kept(tmp_path: Path) -> None:
    store = tmp_path / "store"
    longer = "protocol.rounds=9"
    whole, _ = played(PRUNEFL, tmp_path / "whole.h5", longer, store=False)
    played(PRUNEFL, tmp_path / "short.h5", store=store)
    trace, outcome = played(PRUNEFL, tmp_path / "long.h5", longer, store=store)
    assert tables(trace) == tables(whole)
    # three rounds of four clients; the model of round 6 was kept
    assert outcome.computed["train"] == 3 * 4
    assert "initial" not in outcome.computed


def test_another_network_trains_nothing(tmp_path: Path) -> None:
    changes = ["platform.network.up=1 Mbit/s"]
    name = "smoke/fedavg_access_links"
    first, _ = played(name, tmp_path / "first.h5")
    whole, _ = played(name, tmp_path / "whole.h5", *changes, store=False)
    slower, outcome = played(name, tmp_path / "slower.h5", *changes)
    assert tables(slower) == tables(whole) != tables(first)
    assert "train" not in outcome.computed


def test_values_that_were_evicted_during_a_run_change_nothing(
    alone: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    from simfl.memo import Disk

    def evict(now: Progress) -> None:
        disk = Disk(tmp_path / ".simfl")
        disk.evict(0)
        disk.close()

    for out in ("first.h5", "again.h5"):
        trace = simfl.run(simfl.load(PRUNEFL), out=tmp_path / out, listeners=Listeners(round=evict))
        assert tables(trace) == alone[PRUNEFL]
    assert list(tmp_path.glob(".simfl/values/*/*")) == []


def test_a_run_whose_worker_is_killed_can_be_resumed(
    alone: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    path = tmp_path / "run.h5"

    def kill(now: Progress) -> None:
        if now.round == 3:
            workers = multiprocessing.active_children()
            assert len(workers) == 2
            os.kill(workers[0].pid or 0, signal.SIGKILL)
            workers[0].join()

    with pytest.raises(ExecutorError, match="a worker process was killed") as told:
        simfl.run(
            simfl.load(PRUNEFL),
            out=path,
            executor="pool",
            workers=2,
            listeners=Listeners(round=kill),
        )
    assert "take fewer --workers, or --executor inline" in str(told.value)
    assert multiprocessing.active_children() == []
    del told
    gc.collect()  # and with the run, its lock
    assert simfl.Trace(path).status == "interrupted"
    assert tables(simfl.resume(path, executor="pool", workers=2)) == alone[PRUNEFL]


def test_a_store_that_cannot_be_written_leaves_a_run_that_can_be_resumed(
    alone: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    path, store = tmp_path / "run.h5", tmp_path / "store"

    def spoil(now: Progress) -> None:
        if now.round == 3:
            (store / "values").rename(store / "away")
            (store / "values").write_text("no folder")

    scenario = simfl.load(PRUNEFL)
    with pytest.raises(StoreError, match=r"cannot write the store: .*--store") as told:
        simfl.run(scenario, out=path, store=store, listeners=Listeners(round=spoil))
    assert len(str(told.value).splitlines()) == 1
    del told
    gc.collect()  # and with the run, its lock
    assert simfl.Trace(path).status == "interrupted"
    with pytest.raises(StoreError, match="cannot write the store"):
        simfl.resume(path, store=store)
    gc.collect()
    (store / "values").unlink()
    (store / "away").rename(store / "values")
    assert tables(simfl.resume(path, store=store)) == alone[PRUNEFL]


def test_auto_chooses_among_what_could_help() -> None:
    chain, deep = simfl.load(PRUNEFL), simfl.load(PRUNEFL, ["learning.model={name: resnet18}"])

    def candidates(scenario: simfl.Scenario, workers: int) -> list[str]:
        executor = Host(workers=workers).make_executor(build(scenario))
        assert isinstance(executor, Auto)
        return [candidate.name for candidate in executor._candidates]

    assert candidates(chain, 2) == ["pool", "batched", "inline"]
    # one core: more processes would not help
    assert candidates(chain, 1) == ["batched", "inline"]
    assert candidates(deep, 2) == ["pool", "inline"]
    assert candidates(deep, 1) == ["inline"]
    assert cores() >= 1


@pytest.mark.parametrize(
    ("name", "kind"), [("inline", Inline), ("batched", Batched), ("pool", Pool), ("auto", Auto)]
)
def test_what_is_asked_for_is_made(name: str, kind: type) -> None:
    executor = simfl.api.make_host(Path("run.h5"), True, name, 3).make_executor(
        build(simfl.load(PRUNEFL))
    )
    assert type(executor) is kind
    assert executor.name == name
    executor.close()


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command line as the entry point does: exit code, standard output and error."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["simfl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capfd.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(
            ["--executor", "cuda"],
            "PyTorch finds no CUDA here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA"),
        ),
        (["--executor", "pol"], "--executor pol: did you mean 'pool'?"),
        (["--executor", "ray"], "--executor ray: valid: auto, batched, cuda, inline, pool"),
        (["--workers", "0"], "--workers 0: give 1 or more"),
        (["--workers", "-2"], "--workers -2: give 1 or more"),
    ],
)
@pytest.mark.parametrize("command", ["run", "resume"])
def test_what_cannot_be_is_one_line(
    call: Call, tmp_path: Path, command: str, options: list[str], told: str
) -> None:
    path = tmp_path / "run.h5"
    where: list[str | Path] = [PRUNEFL, "--out", path]
    if command == "resume":
        interrupted(path)
        where = [path]
    code, _, said = call(command, *where, "--quiet", *options)
    assert code == 2
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert told in said
    if command == "run":
        assert list(tmp_path.iterdir()) == []
    else:
        assert simfl.Trace(path).status == "interrupted"


def interrupted(path: Path) -> None:
    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        simfl.run(simfl.load(PRUNEFL), out=path, store=False, listeners=Listeners(round=stop))
    gc.collect()  # and with the run, its lock


def test_the_store_lies_where_it_is_said(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[str]:
        return sorted(str(path.parent) for path in tmp_path.rglob("index.sqlite"))

    def run(out: str, *words: str | Path) -> None:
        short = ["protocol.rounds=1", "--quiet", "--executor", "inline"]
        assert call("run", PRUNEFL, *short, "--out", tmp_path / out, *words) == (0, "", "")

    run("a/run.h5", "--no-store")
    assert found() == []
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run.h5"]
    named = tmp_path / "named"
    monkeypatch.setenv("SIMFL_STORE", str(named))
    run("b/run.h5")
    assert found() == [str(named)]
    run("c/run.h5", "--no-store")
    run("d/run.h5", "--store", tmp_path / "said")
    assert found() == [str(named), str(tmp_path / "said")]
    monkeypatch.delenv("SIMFL_STORE")
    run("e/run.h5")
    assert found() == [str(tmp_path / "e" / ".simfl"), str(named), str(tmp_path / "said")]
    assert store_beside(tmp_path / "e" / "run.h5") == tmp_path / "e" / ".simfl"


def in_group(group: int) -> list[str]:
    """Processes of a group that run still."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(path.parent.name)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_ctrl_c_leaves_one_line_no_process_and_a_trace_to_resume(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    changes = ["protocol.rounds=100000", "stop.time=null", "record.checkpoint_every=2"]
    words = ["run", PRUNEFL, *changes, "--quiet", "--executor", "pool", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "simfl", *words, "--out", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that a script runs in the background hands on that interrupts are ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list(tmp_path.glob(".simfl/values/*/*.value")):
        assert process.poll() is None
        time.sleep(0.05)
    assert len(in_group(process.pid)) == 3
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == ("", f"interrupted; go on with: simfl resume {path}\n")
    assert in_group(process.pid) == []
    trace = simfl.Trace(path)
    assert trace.status == "interrupted"
    assert len(trace.raw("activities")) > 0
