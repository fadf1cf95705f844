import pickle
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simfl.datasets.base import Dataset, DataSpec, NoOptions
from simfl.errors import DataError
from simfl.registry import DATASETS
from simfl.vision import torchvision

LABELS = {"train": [3, 0, 9, 9], "test": [1, 2]}


def images(labels: list[int]) -> np.ndarray:
    """Each image has its label in the first red pixel, and 200 in the last blue one."""
    made = np.zeros((len(labels), 32, 32, 3), dtype=np.uint8)
    made[:, 0, 0, 0] = labels
    made[:, 31, 31, 2] = 200
    return made


def arrays(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for part, labels in LABELS.items():
        made |= {f"{part}_images": images(labels), f"{part}_labels": np.array(labels)}
    return made | changes


def spec() -> DataSpec:
    made = DATASETS.get("cifar10").build(NoOptions())
    assert isinstance(made, DataSpec)
    return made


def check(found: Dataset) -> None:
    assert (found.name, found.classes, found.sample_shape) == ("cifar10", 10, (3, 32, 32))
    for got, labels, part in (
        (found.train_images, found.train_labels, "train"),
        (found.test_images, found.test_labels, "test"),
    ):
        assert labels.tolist() == got[:, 0, 0, 0].tolist() == LABELS[part]
        assert got[:, 2, 31, 31].tolist() == [200] * len(labels)
        assert int(got.sum()) == sum(LABELS[part]) + 200 * len(labels)
        assert got.is_contiguous()


def write_batches(root: Path) -> None:
    """What torchvision unpacks: pickles of rows of 3,072 bytes, channels first."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    parts = {"data_batch_1": LABELS["train"], "test_batch": LABELS["test"]}
    for name in spec().files:
        labels = parts.get(Path(name).name, [])
        rows = images(labels).transpose(0, 3, 1, 2).reshape(len(labels), 3072)
        entry = {"data": rows, "labels": labels, "label_names": list("abcdefghij")}
        (root / name).write_bytes(pickle.dumps(entry))


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let torchvision take the files of a folder for the official ones."""

    def accept(root: Path) -> None:
        digests = [[Path(n).name, md5((root / n).read_bytes()).hexdigest()] for n in spec().files]
        reader = torchvision().datasets.CIFAR10
        monkeypatch.setattr(reader, "train_list", digests[:5])
        monkeypatch.setattr(reader, "test_list", digests[5:6])
        monkeypatch.setattr(
            reader,
            "meta",
            {"filename": "batches.meta", "key": "label_names"} | {"md5": digests[6][1]},
        )

    return accept


def test_from_arrays(tmp_path: Path) -> None:
    assert spec().missing_in(tmp_path) == list(spec().files)
    np.savez(tmp_path / "cifar10.npz", **arrays())
    assert spec().missing_in(tmp_path) == []
    check(spec().read(tmp_path))


def test_from_torchvisions_files(tmp_path: Path, official: Callable[[Path], None]) -> None:
    write_batches(tmp_path)
    official(tmp_path)
    assert spec().missing_in(tmp_path) == []
    check(spec().read(tmp_path))
    # these are preferred
    np.savez(tmp_path / "cifar10.npz", **arrays(train_images=images([0, 0, 0, 0])))
    check(spec().read(tmp_path))


def test_files_of_another_origin(tmp_path: Path) -> None:
    write_batches(tmp_path)
    with pytest.raises(DataError, match="batches-py: not the official files, whole; fetch"):
        spec().read(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_an_archive_cut_short(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cifar10.npz"
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cifar10\.npz: not a whole archive of plain arrays; lay"):
        spec().read(tmp_path)


def test_an_archive_that_lacks_a_part(tmp_path: Path) -> None:
    found = arrays()
    del found["test_labels"]
    np.savez(tmp_path / "cifar10.npz", **found)
    with pytest.raises(DataError, match="lacks the array test_labels; lay cifar10 out anew"):
        spec().read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": images([1, 2, 3])}, r"train_images is uint8 \(3, 32, 32, 3\) for 4 lab"),
        ({"test_images": images([1, 2]).astype(np.float32)}, "test_images is float32 .* is due"),
        (
            {"test_images": np.zeros((0, 32, 32, 3), np.uint8), "test_labels": np.zeros(0, int)},
            r"test_images is uint8 \(0, 32, 32, 3\) for 0 labels",
        ),
        ({"train_labels": np.array([0, 1, 2, 10])}, "train_labels go beyond 0 to 9"),
        ({"test_labels": np.array([0, -1])}, "test_labels go beyond 0 to 9"),
    ],
)
def test_arrays_that_are_something_else(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "cifar10.npz", **arrays(**change))
    with pytest.raises(DataError, match=message):
        spec().read(tmp_path)


@pytest.mark.data
@pytest.mark.slow
def test_the_real_thing(cifar10: Path) -> None:
    found = spec().read(cifar10)
    assert found.train_images.shape == (50_000, 3, 32, 32)
    assert found.test_images.shape == (10_000, 3, 32, 32)
    assert found.train_labels.bincount().tolist() == [5000] * 10
    assert found.test_labels.bincount().tolist() == [1000] * 10
    # the published means of the training set, red, green and blue
    means = [float(found.train_images[:, i].float().mean()) / 255 for i in range(3)]
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
