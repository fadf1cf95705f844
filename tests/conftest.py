"""Fixtures shared by the whole suite."""

import gzip
import os
import shutil
from pathlib import Path

import pytest

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST/raw: what SIMFL_DATA names, else unpacked from beside the checkout."""
    named = os.environ.get("SIMFL_DATA")
    if named and (Path(named) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        return Path(named)
    packed = sorted((SHARED / "MNIST" / "raw").glob("*.gz"))
    if not packed:
        pytest.skip("MNIST is not at hand; set SIMFL_DATA")
    raw = tmp_path_factory.mktemp("data") / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in packed:
        with gzip.open(path) as source, (raw / path.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    return raw.parent.parent


@pytest.fixture(autouse=True)
def _no_data_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests that ask for a data set get one: neither SIMFL_DATA nor the cache is seen."""
    monkeypatch.delenv("SIMFL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/nonexistent")
