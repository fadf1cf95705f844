"""CIFAR's two sets: 32 x 32 RGB, from torchvision's files or from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from simfl.datasets.arrays import ARRAYS, PARTS, Part, channels_first, part_of, read_archive
from simfl.datasets.base import Dataset, DataSpec
from simfl.errors import DataError
from simfl.vision import torchvision


def cifar_spec(name: str, *, classes: int, folder: str, files: Sequence[str]) -> DataSpec:
    """From the official files in ``folder``, else from the arrays in ``<name>.npz``.

    The arrays are ``{train,test}_images``, uint8 (samples, 32, 32, 3), and ``{train,test}_labels``.
    """
    official = tuple(f"{folder}/{file}" for file in files)
    archive = f"{name}.npz"

    def read(root: Path) -> Dataset:
        if (root / official[0]).is_file():
            train, test = _official(root, name.upper(), folder)
        else:
            path = root / archive
            found = read_archive(path, ARRAYS, f"lay {name} out anew")
            train, test = (
                part_of(path, found, part, shape=(32, 32, 3), classes=classes) for part in PARTS
            )
        return Dataset(
            name=name,
            classes=classes,
            train_images=train[0],
            train_labels=train[1],
            test_images=test[0],
            test_labels=test[1],
        )

    return DataSpec(name=name, files=official, or_files=(archive,), read=read)


def _official(root: Path, reader: str, folder: str) -> tuple[Part, Part]:
    """The official files; torchvision checks them by MD5."""
    read = getattr(torchvision().datasets, reader)
    try:
        train, test = (read(root, train=train) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{root / folder}: not the official files, whole; fetch them anew"
        ) from error
    return _part(train), _part(test)


def _part(found: Any) -> Part:
    return channels_first(found.data), torch.as_tensor(found.targets, dtype=torch.int64)
