"""CIFAR-10: 50,000 + 10,000 photographs, 32 x 32 RGB, in ten classes. Source: Krizhevsky 2009."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from simfl.datasets.base import Dataset, DataSpec, NoOptions
from simfl.errors import DataError
from simfl.registry import DATASETS
from simfl.vision import torchvision

_BATCHES: Final = tuple(
    f"cifar-10-batches-py/{part}"
    for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
)
_ARRAYS: Final = "cifar10.npz"
_CLASSES: Final = 10


@DATASETS.register("cifar10", options=NoOptions)
def cifar10(_options: NoOptions) -> DataSpec:
    """From torchvision's ``cifar-10-batches-py``, else from the arrays in ``cifar10.npz``.

    The arrays are ``{train,test}_images``, uint8 (samples, 32, 32, 3), and ``{train,test}_labels``.
    """
    return DataSpec(name="cifar10", files=_BATCHES, or_files=(_ARRAYS,), read=_read)


def _read(root: Path) -> Dataset:
    batches = (root / _BATCHES[0]).is_file()
    train, test = _read_batches(root) if batches else _read_arrays(root / _ARRAYS)
    return Dataset(
        name="cifar10",
        classes=_CLASSES,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
    )


Part = tuple[Tensor, Tensor]


def _read_batches(root: Path) -> tuple[Part, Part]:
    """The official files; torchvision checks them by MD5."""
    reader = torchvision().datasets.CIFAR10
    folder = root / Path(_BATCHES[0]).parent
    try:
        train, test = (reader(root, train=train) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise DataError(f"{folder}: not CIFAR-10's own files, whole; fetch them anew") from error
    return _part(train.data, train.targets), _part(test.data, test.targets)


def _read_arrays(path: Path) -> tuple[Part, Part]:
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            found = {
                name: file[name]
                for name in ("train_images", "train_labels", "test_images", "test_labels")
            }
    except (OSError, ValueError, EOFError, BadZipFile, KeyError) as error:
        raise DataError(f"{path}: not a whole archive of CIFAR-10; lay it out anew") from error
    for part in ("train", "test"):
        images, labels = found[f"{part}_images"], found[f"{part}_labels"]
        if images.dtype != np.uint8 or images.shape != (len(labels), 32, 32, 3) or not len(labels):
            raise DataError(
                f"{path}: {part}_images is {images.dtype} {images.shape} for {len(labels)} labels; "
                "uint8 (samples, 32, 32, 3) is due"
            )
        if labels.min() < 0 or labels.max() >= _CLASSES:
            raise DataError(f"{path}: {part}_labels go beyond 0 to 9; lay it out anew")
    train, test = (_part(found[f"{p}_images"], found[f"{p}_labels"]) for p in ("train", "test"))
    return train, test


def _part(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], labels: object) -> Part:
    """Images with the channels first, and labels."""
    first = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return first, torch.as_tensor(labels, dtype=torch.int64)
