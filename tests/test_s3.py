"""A store on S3: what it gives is what a folder gives, and it may be gone for a while."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from brief_studies import BRIEF, NAME, assert_same

import simfl
from simfl.errors import StoreError
from simfl.health import State, examine
from simfl.recording import Progress
from simfl.simulation import Listeners

GRID = ["seed=1,2", "platform.network.up=1 Mbit/s,9 Mbit/s"]
ALONE: dict[str, Any] = {"executor": "inline", "workers": 1}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A short scenario's file."""
    path = tmp_path / "brief.yaml"
    path.write_text(simfl.load(NAME, BRIEF).as_yaml())
    return path


def objects(url: str) -> list[str]:
    files, root = fsspec.url_to_fs(url)
    files.invalidate_cache()
    return [path.removeprefix(f"{root}/") for path in files.find(root)]


@pytest.mark.slow
def test_a_sweep_in_two_processes(s3: Any, scenario: Path, tmp_path: Path) -> None:
    local = simfl.sweep(scenario, *GRID, folder=tmp_path / "local", **ALONE)
    found = simfl.sweep(scenario, *GRID, folder=tmp_path / "s3", store=s3.url, jobs=2, **ALONE)
    assert_same(found, local)
    kinds = {path.partition("/")[0] for path in objects(s3.url)}
    assert kinds == {"simfl-store", "results", "values"}
    # another folder finds all there is: nothing is trained, so nothing is written
    before = objects(s3.url)
    again = simfl.sweep(scenario, *GRID, folder=tmp_path / "again", store=s3.url, **ALONE)
    assert_same(again, local)
    assert objects(s3.url) == before


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.slow
def test_a_sweep_whose_store_dies_goes_on_with_the_same_call(
    s3: Any, scenario: Path, tmp_path: Path, jobs: int
) -> None:
    local = simfl.sweep(scenario, *GRID, folder=tmp_path / "local", **ALONE)
    seen: list[dict[str, Any]] = []

    def die(row: dict[str, Any]) -> None:
        seen.append(row)
        if len(seen) == 1:
            s3.stop()

    where: dict[str, Any] = {"folder": tmp_path / "s3", "store": s3.url, "jobs": jobs, **ALONE}
    with pytest.raises(StoreError) as told:
        simfl.sweep(scenario, *GRID, on_point=die, **where)
    # once, and not for each point that is left
    assert len(seen) == 1
    assert str(told.value).startswith(f"{s3.url}: cannot use the shared store: Could not connect")
    assert len(str(told.value).splitlines()) == 1
    stood = Path(seen[0]["trace"])
    at = stood.stat().st_mtime_ns
    del told
    gc.collect()  # and with the sweep, its locks
    s3.start()
    assert_same(simfl.sweep(scenario, *GRID, **where), local)
    assert stood.stat().st_mtime_ns == at


@pytest.mark.slow
def test_a_run_whose_store_dies_is_resumed(s3: Any, tmp_path: Path) -> None:
    scenario = simfl.load("smoke/prunefl_federated", ["protocol.rounds=3"])
    whole = simfl.run(scenario, out=tmp_path / "whole.h5", store=False, **ALONE)

    def die(now: Progress) -> None:
        if now.round == 2:
            s3.stop()

    out = tmp_path / "run.h5"
    with pytest.raises(StoreError, match="mend that and call again: what it holds stands"):
        simfl.run(scenario, out=out, store=s3.url, listeners=Listeners(round=die), **ALONE)
    gc.collect()
    assert simfl.Trace(out).status == "interrupted"
    s3.start()
    resumed = simfl.resume(out, store=s3.url, **ALONE)
    for table in ("activities", "transfers", "scores", "energy"):
        assert resumed.raw(table).tobytes() == whole.raw(table).tobytes()


def test_what_is_not_there_is_said_at_once(s3: Any, scenario: Path, tmp_path: Path) -> None:
    loaded, out = simfl.load(scenario), tmp_path / "run.h5"
    with pytest.raises(StoreError, match="The specified bucket does not exist; mend that"):
        simfl.run(loaded, out=out, store="s3://nobody/store")
    assert not out.exists()


def test_doctor_looks_at_a_url(s3: Any) -> None:
    def store() -> Any:
        return next(one for one in examine(None, s3.url) if one.about == "store")

    assert (store().state, store().found) == (State.lacking, f"none yet at {s3.url}")
    simfl.api.make_host(Path("run.h5"), s3.url, "inline", 1)
    assert store().found == f"{s3.url}: it can be reached"
    s3.stop()
    broken = store()
    s3.start()
    assert broken.state is State.broken
    assert "Could not connect" in broken.found


@pytest.mark.slow
def test_the_command_line_says_one_line_and_exits_with_2(s3: Any, scenario: Path) -> None:
    s3.stop()
    words = [sys.executable, "-m", "simfl", "run", str(scenario), "--store", s3.url]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=scenario.parent, env=os.environ
    )
    s3.start()
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Could not connect to the endpoint URL" in done.stderr
