"""The shared store: files that are never changed, checked when they are read."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from simfl.errors import StoreError
from simfl.keys import Key, key_of
from simfl.memo import Shared
from simfl.work import Manifest, TensorInfo

FAMILY, ONE, TWO = key_of("family"), key_of("one"), key_of("two")


def manifest(nonzero: int, **metrics: float) -> Manifest:
    info = TensorInfo(name="w", shape=(2, 3), dtype="float32", nonzero=nonzero, known=True)
    return Manifest(tensors=(info,), metrics=metrics)


@pytest.fixture(params=["directory", "url", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store is to be."""
    if request.param == "directory":
        yield str(tmp_path / "store")
        return
    if request.param == "s3":
        yield request.getfixturevalue("s3").url
        return
    url = f"memory://{uuid4()}/store"
    yield url
    fsspec.filesystem("memory").rm(url, recursive=True)


@pytest.fixture
def store(place: str) -> Shared:
    Shared.make(place)
    return Shared(place, FAMILY)


def test_what_one_records_others_know(store: Shared, place: str) -> None:
    assert store.manifests() == {}
    other, stranger = Shared(place, FAMILY), Shared(place, key_of("another"))
    store.record({ONE: manifest(1), TWO: manifest(1)})
    other.record({key_of("three"): manifest(2, accuracy=0.5)})
    known = {ONE: manifest(1), TWO: manifest(1), key_of("three"): manifest(2, accuracy=0.5)}
    assert store.manifests() == other.manifests() == known
    assert stranger.manifests() == {}


def test_values(store: Shared, place: str) -> None:
    assert store.load(ONE) is None
    store.save(ONE, {"weights": [1.0, 2.0]})
    assert Shared(place, FAMILY).load(ONE) == {"weights": [1.0, 2.0]}


def test_what_is_torn_or_altered_counts_as_missing(store: Shared, place: str) -> None:
    store.record({ONE: manifest(1)})
    store.record({TWO: manifest(2)})
    store.save(ONE, "whole")
    store.save(TWO, "whole")
    files, root = fsspec.url_to_fs(place)
    batch, other = sorted(files.glob(f"{root}/results/{FAMILY}/*"))
    files.pipe_file(batch, files.cat_file(batch)[:-1])
    assert len(store.manifests()) == 1
    files.pipe_file(other, files.cat_file(other).replace(b"0", b"1", 1))
    assert store.manifests() == {}
    for key in (ONE, TWO):
        path = f"{root}/values/{key[:2]}/{key}.value"
        files.pipe_file(path, files.cat_file(path)[: -1 if key == ONE else 3])
        assert store.load(Key(key)) is None


def test_a_store_that_nobody_made(place: str) -> None:
    with pytest.raises(StoreError, match="not to be seen from this machine; give --store"):
        Shared(place, FAMILY)
    Shared.make(place)
    Shared.make(place)
    assert Shared(place, FAMILY).manifests() == {}


def test_another_version_is_refused(store: Shared, place: str) -> None:
    files, root = fsspec.url_to_fs(place)
    files.pipe_file(f"{root}/simfl-store", b"0")
    with pytest.raises(StoreError, match="a store of another version of simfl"):
        Shared.make(place)


def test_an_unknown_protocol() -> None:
    with pytest.raises(StoreError, match="nowhere://x: cannot use the shared store: Protocol not"):
        Shared.make("nowhere://x")


def test_what_a_protocol_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "s3fs"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    loaded = import_module("fsspec.registry")._registry
    monkeypatch.delitem(loaded, "s3", raising=False)
    says = r"s3://bucket/x: cannot use the shared store: .*s3fs.*; pip install 'simfl\[s3\]'$"
    with pytest.raises(StoreError, match=says):
        Shared.make("s3://bucket/x")


def test_a_fault_of_the_store_is_no_missing_result(
    store: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.record({ONE: manifest(1)})
    files, broken = store._files, OSError("the line is dead")
    monkeypatch.setattr(files, "cat", lambda paths, on_error: dict.fromkeys(paths, broken))
    with pytest.raises(StoreError, match="the line is dead; mend that and call again"):
        store.manifests()
    gone = FileNotFoundError("since the listing")
    monkeypatch.setattr(files, "cat", lambda paths, on_error: dict.fromkeys(paths, gone))
    assert store.manifests() == {}
