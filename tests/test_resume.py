"""Runs that repeat, and runs that are killed."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import simfl
from simfl import simulation
from simfl.errors import TraceError
from simfl.record.schema import COLUMNS
from simfl.work import Manifest, TensorInfo

NAME = "smoke/prunefl_federated"
CHANGES = ["protocol.rounds=40", "record.checkpoint_every=5"]


def same(one: simfl.Trace, other: simfl.Trace) -> bool:
    return all(one.raw(t).tobytes() == other.raw(t).tobytes() for t in COLUMNS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> simfl.Trace:
    """A run that nobody killed."""
    out = tmp_path_factory.mktemp("whole") / "run.h5"
    return simfl.run(simfl.load(NAME, CHANGES), out=out)


def kill_after(words: list[str], path: Path, size: int) -> None:
    """Start simfl, and SIGKILL it once its trace has grown to that size."""
    process = subprocess.Popen([sys.executable, "-m", "simfl", *words])
    while process.poll() is None:
        if path.exists() and path.stat().st_size >= size:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_one_seed_gives_one_result_and_another_seed_another(
    whole: simfl.Trace, tmp_path: Path
) -> None:
    again = simfl.run(simfl.load(NAME, CHANGES), out=tmp_path / "again.h5")
    assert same(whole, again)
    other = simfl.run(simfl.load(NAME, [*CHANGES, "seed=9"]), out=tmp_path / "other.h5")
    assert not (whole.scores["accuracy"] == other.scores["accuracy"]).all()


@pytest.mark.slow
def test_a_killed_run_is_readable_and_resumes_to_the_same_tables(
    whole: simfl.Trace, tmp_path: Path
) -> None:
    path = tmp_path / "run.h5"
    kill_after(["run", NAME, *CHANGES, "--quiet", "--out", str(path)], path, 52_000)
    killed = simfl.Trace(path)
    assert killed.status == "running"
    seen = len(killed.raw("activities"))
    assert 0 < seen < len(whole.raw("activities"))
    assert killed.raw("activities").tobytes() == whole.raw("activities")[:seen].tobytes()
    # killed once more while it resumes, further on
    beside = path.with_name("run.h5.resumed")
    kill_after(["resume", str(path), "--quiet"], beside, 70_000)
    assert same(simfl.resume(path), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".simfl", "run.h5"]


@pytest.mark.slow
def test_resuming_computes_only_what_is_not_recorded(
    whole: simfl.Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    kill_after(["run", NAME, *CHANGES, "--quiet", "--out", str(path)], path, 70_000)
    recorded = len(simfl.Trace(path).raw("activities"))
    stores = []

    class Counted(simulation.Store):
        def __init__(self, *args: object, **names: object) -> None:
            super().__init__(*args, **names)  # type: ignore[arg-type]
            stores.append(self)

    monkeypatch.setattr(simulation, "Store", Counted)
    assert same(simfl.resume(path), whole)
    trained_whole = (whole.activities["verb"] == "train").sum()
    assert recorded > 100
    # at most the rounds since the checkpoint are trained a second time: 5 rounds of 4 clients
    left = trained_whole - (whole.activities[:recorded]["verb"] == "train").sum()
    assert 0 < stores[0].computed["train"] <= left + 5 * 4
    assert "initial" not in stores[0].computed


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        simfl.resume(tmp_path / "no.h5")


def test_a_manifest_keeps_its_hash_to_its_own_process() -> None:
    """Text hashes differ between processes: a checkpoint must not carry one."""
    info = TensorInfo(name="fc1.weight", shape=(2,), dtype="float32", nonzero=1)
    code = (
        "import pickle, sys; from simfl.work import Manifest, TensorInfo;"
        "i = TensorInfo(name='fc1.weight', shape=(2,), dtype='float32', nonzero=1);"
        "m = Manifest(tensors=(i,));"
        "hash(m); sys.stdout.buffer.write(pickle.dumps(m))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    here = Manifest(tensors=(info,))
    there = pickle.loads(done.stdout)
    assert there == here
    assert hash(there) == hash(here)
