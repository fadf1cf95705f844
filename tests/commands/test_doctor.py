from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from simfl import health
from simfl.cli import app
from simfl.health import Finding, State, examine
from simfl.memo import Disk
from simfl.registry import DATASETS


@pytest.fixture(autouse=True)
def _on_a_fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMFL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def about(name: str, findings: Sequence[Finding]) -> Finding:
    [found] = [finding for finding in findings if finding.about == name]
    return found


def test_a_machine_that_is_well(tmp_path: Path) -> None:
    findings = list(examine(None, tmp_path / "store"))
    assert not [f for f in findings if f.state is State.broken]
    named = {f.about for f in findings}
    own = {name for name in DATASETS.names() if DATASETS.get(name).needs_options}
    assert {f"data {name}" for name in set(DATASETS.names()) - own} <= named
    assert {"simfl", "Python", "packages", "torch", "GPU", "files", "store", "disk"} <= named
    assert "torch 2" in about("packages", findings).found
    assert about("data digits", findings).state is State.good
    mnist = about("data mnist", findings)
    assert mnist.state is State.lacking
    assert mnist.mend.endswith("cache/simfl, as MNIST/raw/train-images-idx3-ubyte")


def test_data_where_a_run_would_find_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar10.npz").touch()
    findings = list(examine(tmp_path / "data", tmp_path / "store"))
    found = about("data cifar10", findings)
    assert (found.state, found.found) == (State.good, str(tmp_path / "data"))


def test_a_store_is_measured(tmp_path: Path) -> None:
    Disk(tmp_path / "store").close()
    finding = about("store", list(health.examine(None, tmp_path / "store")))
    assert finding.state is State.good
    assert "values up to 2.00 GiB" in finding.found
    (tmp_path / "store" / "index.sqlite").write_bytes(b"x" * 4096)
    assert about("store", list(examine(None, tmp_path / "store"))).state is State.broken


def test_what_is_broken_is_said_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["doctor"])
    assert (done.exit_code, done.stderr) == (0, "")
    monkeypatch.setenv("SIMFL_DATA", str(tmp_path / "gone"))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2
    assert done.stderr == "error: broken: data folder\n"
    assert "SIMFL_DATA: no folder" in done.stdout


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["no-such-package>=1", 'pyarrow>=15; extra == "parquet"', 'other-one; extra == "docs"']
    monkeypatch.setattr(health, "requires", lambda _: lines)
    findings = list(health._packages())
    [missing, *_] = findings
    assert missing.state is State.broken
    assert missing.mend == "pip install no-such-package"
    docs = about("extra docs", findings)
    assert (docs.state, docs.mend) == (State.lacking, "pip install 'simfl[docs]'")


def test_a_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30)
    monkeypatch.setattr(health.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(health.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(health.torch.cuda, "get_device_properties", lambda _: card)
    assert health._gpu() == Finding(about="GPU", found="NVIDIA H100, 80.00 GiB")
    monkeypatch.setattr(health.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(health.torch.version, "cuda", "12.8")
    assert "built for CUDA and sees none" in health._gpu().found
