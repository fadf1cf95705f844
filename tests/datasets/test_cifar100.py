import pickle
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest

from simfl.datasets.base import Dataset, DataSpec, NoOptions
from simfl.errors import DataError
from simfl.registry import DATASETS
from simfl.vision import torchvision

LABELS = {"train": [99, 0, 42], "test": [7, 98]}


def spec() -> DataSpec:
    made = DATASETS.get("cifar100").build(NoOptions())
    assert isinstance(made, DataSpec)
    return made


def rows(labels: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Channels first, the first pixel's red its label."""
    made = np.zeros((len(labels), 3, 32, 32), np.uint8)
    made[:, 0, 0, 0] = labels
    return made


def check(found: Dataset) -> None:
    assert (found.name, found.classes, found.sample_shape) == ("cifar100", 100, (3, 32, 32))
    assert found.train_labels.tolist() == found.train_images[:, 0, 0, 0].tolist() == LABELS["train"]
    assert found.test_labels.tolist() == found.test_images[:, 0, 0, 0].tolist() == LABELS["test"]


def test_from_arrays(tmp_path: Path) -> None:
    images = {f"{p}_images": rows(it).transpose(0, 2, 3, 1) for p, it in LABELS.items()}
    labels = {f"{p}_labels": np.array(it) for p, it in LABELS.items()}
    np.savez(tmp_path / "cifar100.npz", **images, **labels)
    assert spec().missing_in(tmp_path) == []
    check(spec().read(tmp_path))


def test_from_torchvisions_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for part, labels in LABELS.items():
        entry = {"data": rows(labels).reshape(len(labels), -1), "fine_labels": labels}
        (folder / part).write_bytes(pickle.dumps(entry))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["a"] * 100}))
    assert spec().missing_in(tmp_path) == []
    with pytest.raises(DataError, match="cifar-100-python: not the official files, whole; fetch"):
        spec().read(tmp_path)
    reader = torchvision().datasets.CIFAR100
    digest = {name: md5((folder / name).read_bytes()).hexdigest() for name in (*LABELS, "meta")}
    monkeypatch.setattr(reader, "train_list", [["train", digest["train"]]])
    monkeypatch.setattr(reader, "test_list", [["test", digest["test"]]])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": digest["meta"]})
    check(spec().read(tmp_path))
