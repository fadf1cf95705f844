"""Sweeps on Ray: what a cluster gives is what this machine gives, byte for byte, whatever dies."""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from brief_studies import BRIEF, NAME, assert_same

import simfl
from simfl import cluster
from simfl.errors import ScenarioError, StoreError
from simfl.hosting import ExecutorName, Host
from simfl.memo import Shared
from simfl.retiming import points_of
from simfl.tasks import Task, play

GRID = [
    "seed=1,2,3,4,5,6,7,8",
    "platform.network.up=" + ",".join(f"{rate} Mbit/s" for rate in range(1, 9)),
]
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: pip install 'simfl[ray]'"
)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short scenario's file."""
    path = tmp_path_factory.mktemp("scenario") / "brief.yaml"
    path.write_text(simfl.load(NAME, BRIEF).as_yaml())
    return path


@pytest.fixture
def work(scenario: Path, tmp_path: Path) -> cluster._Work:
    """One point, as a node is given it."""
    [point] = points_of(["platform.network.up=2 Mbit/s"])
    store = str(tmp_path / "store")
    Shared.make(store)
    task = Task(
        number=0,
        text=scenario.read_text(),
        source=str(scenario),
        folder=scenario.parent,
        point=point,
        out=tmp_path / "out" / "point.h5",
    )
    host = Host(shared=store, executor=ExecutorName.inline, workers=1)
    return cluster._Work(
        task=task, begun=None, data_dir=None, host=host, code=cluster._code(), cwd=Path.cwd()
    )


# on a node -----------------------------------------------------------------------------------


def test_a_node_gives_the_row_and_the_trace_of_this_machine(work: cluster._Work) -> None:
    done = cluster._do(work)
    # nothing is left where the point was run, and nothing written where it will lie
    assert not work.task.out.exists()
    local = Host(executor=ExecutorName.inline, workers=1)
    # as text: nan is itself there
    assert str(done.row) == str(play(work.task, None, local))
    assert done.trace == work.task.out.read_bytes()
    # a trace that is brought along is gone on with: this one is complete already
    again = cluster._do(replace(work, begun=done.trace, host=Host(shared="/nowhere")))
    assert again.trace == done.trace


def test_a_node_with_other_code_computes_nothing(work: cluster._Work) -> None:
    done = cluster._do(replace(work, code="0123"))
    assert "has another version of simfl; install this one" in done.row["status"]
    assert done.row["status"].startswith("failed: ")
    assert done.trace is None


def test_a_node_that_does_not_see_the_store_says_so(work: cluster._Work) -> None:
    done = cluster._do(replace(work, host=Host(shared="/nowhere/store")))
    assert "/nowhere/store: not to be seen from this machine; give --store" in done.row["status"]


def test_a_trace_is_written_whole(work: cluster._Work) -> None:
    cluster._write(work.task, None)
    assert not work.task.out.parent.exists()
    cluster._write(work.task, b"whole")
    assert [path.name for path in work.task.out.parent.iterdir()] == ["point.h5"]
    assert work.task.out.read_bytes() == b"whole"


# mistakes ------------------------------------------------------------------------------------


def test_without_ray(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScenarioError, match=r"pip install 'simfl\[ray\]', or take --jobs"):
        simfl.sweep(scenario, *GRID, folder=tmp_path / "out", ray=True)
    assert not (tmp_path / "out").exists()


def test_jobs_are_of_this_machine(scenario: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="give --jobs or --ray"):
        simfl.sweep(scenario, *GRID, folder=tmp_path / "out", ray=True, jobs=2)


# a cluster -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(scenario: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The sweep on this machine, one point after the other."""
    folder = tmp_path_factory.mktemp("local")
    return simfl.sweep(scenario, *GRID, folder=folder, executor="inline", jobs=1)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A Ray cluster of two nodes of one core; the second one's scratch is seen in ``scratch``."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=small)
    seen = {"env_vars": {"TMPDIR": str(tmp_path / "scratch")}}
    made.second = made.add_node(num_cpus=1, object_store_memory=80 * 2**20, **seen)
    yield made
    made.shutdown()


def computed(store: Path) -> Counter[str]:
    """How often each result was recorded, that is: computed."""
    batches = [json.loads(path.read_text()) for path in store.glob("results/*/*")]
    return Counter(key for batch in batches for key, _ in batch["results"])


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray")
def test_64_points_on_two_nodes(
    nodes: Any, scenario: Path, local: pd.DataFrame, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    where = {"ray": nodes.address, "store": str(store), "executor": "inline", "folder": out}
    found = simfl.sweep(scenario, *GRID, **where)
    assert len(found) == 64
    assert_same(found, local)
    # eight seeds trained, each once, whichever node ran the other rates
    assert set(computed(store).values()) == {1}
    # what stands is not run again; what cannot be run is told as on this machine
    stood = {path: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    devices = ["seed=1", "platform.network.up=1 Mbit/s", "platform.devices.pi4.model=pi4,pi5"]
    some = simfl.sweep(scenario, *devices, **where)
    assert some["status"][0] == "complete: 3 rounds"
    assert "failed: " in some["status"][1]
    assert "unknown device 'pi5'" in some["status"][1]
    assert all(path.stat().st_mtime_ns == at for path, at in stood.items())


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray")
def test_two_nodes_share_a_store_on_s3(s3: Any, nodes: Any, scenario: Path, tmp_path: Path) -> None:
    grid = ["seed=1,2", "platform.network.up=1 Mbit/s,2 Mbit/s"]
    local = simfl.sweep(scenario, *grid, folder=tmp_path / "local", executor="inline")
    where = {"ray": nodes.address, "store": s3.url, "executor": "inline"}
    found = simfl.sweep(scenario, *grid, folder=tmp_path / "out", **where)
    assert_same(found, local)
    # a server that dies ends the sweep with the node's one error, and the same call goes on
    seen: list[dict[str, Any]] = []

    def die(row: dict[str, Any]) -> None:
        seen.append(row)
        s3.stop()

    fresh = {**where, "store": f"{s3.url}-fresh", "folder": tmp_path / "fresh"}
    with pytest.raises(StoreError, match="-fresh: cannot use the shared store: Could not") as told:
        simfl.sweep(scenario, *grid, on_point=die, **fresh)
    assert len(str(told.value).splitlines()) == len(seen) == 1
    s3.start()
    assert_same(simfl.sweep(scenario, *grid, **fresh), local)


def children(parent: int) -> list[int]:
    """Processes whose parent that is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # after the name, which may hold anything: state, parent, ...
            if path.read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(path.parent.name))
    return found


def kill(nodes: Any, scratch: Path) -> None:
    """SIGKILL the second node and all its workers, just after it has begun a point."""
    [raylet] = nodes.second.all_processes["raylet"]
    before, end = set(scratch.iterdir()), time.monotonic() + 60
    while not set(scratch.iterdir()) - before:
        if time.monotonic() > end:
            return
        time.sleep(0.001)
    for worker in children(raylet.process.pid):
        os.kill(worker, signal.SIGKILL)
    nodes.remove_node(nodes.second, allow_graceful=False)


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray")
def test_a_node_that_dies_loses_no_point(
    nodes: Any,
    scenario: Path,
    local: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []
    write = cluster._write

    def count(task: Task, trace: bytes | None) -> None:
        written.append(task.number)
        write(task, trace)

    monkeypatch.setattr(cluster, "_write", count)
    seen: list[dict[str, Any]] = []

    def kill_midway(row: dict[str, Any]) -> None:
        seen.append(row)
        if len(seen) == 16:
            # beside the sweep, which goes on giving the node points
            killer.start()

    killer = Thread(target=kill, args=(nodes, tmp_path / "scratch"))
    out = tmp_path / "out"
    found = simfl.sweep(
        scenario, *GRID, ray=nodes.address, executor="inline", folder=out, on_point=kill_midway
    )
    killer.join()
    assert_same(found, local)
    # what the dead node was at is left behind, unfinished
    assert len(list((tmp_path / "scratch").glob("simfl-*"))) == 1
    assert sorted(written) == list(range(64))
    assert len({row["trace"] for row in seen}) == len(seen) == 64
    assert {path.name for path in out.iterdir()} == {Path(p).name for p in local["trace"]} | {
        ".simfl"
    }
