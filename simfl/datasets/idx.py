"""MNIST's file format, read through torchvision, its faults told with the file's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from torch import Tensor

from simfl.datasets.base import Dataset, DataSpec
from simfl.errors import DataError
from simfl.vision import torchvision

_PARTS: Final = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx_spec(name: str, folder: str) -> DataSpec:
    """A data set of four IDX files below ``folder/raw``, as torchvision lays them out."""
    files = tuple(f"{folder}/raw/{part}-ubyte" for part in _PARTS)

    def read(root: Path) -> Dataset:
        torchvision()
        from torchvision.datasets import mnist

        paths = [root / file for file in files]
        train_images = _read(mnist.read_image_file, paths[0])
        train_labels = _read(mnist.read_label_file, paths[1])
        test_images = _read(mnist.read_image_file, paths[2])
        test_labels = _read(mnist.read_label_file, paths[3])
        for images, labels, path in (
            (train_images, train_labels, paths[1]),
            (test_images, test_labels, paths[3]),
        ):
            if len(images) != len(labels):
                raise DataError(
                    f"{path}: {len(labels)} labels for {len(images)} images; fetch both files anew"
                )
        return Dataset(
            name=name,
            classes=10,
            train_images=train_images.unsqueeze(1),
            train_labels=train_labels,
            test_images=test_images.unsqueeze(1),
            test_labels=test_labels,
        )

    return DataSpec(name=name, files=files, read=read)


def _read(reader: Callable[[str], Tensor], path: Path) -> Tensor:
    """One file; torchvision checks the header, and the view fails where bytes are missing."""
    try:
        tensor = reader(str(path))
    except (AssertionError, ValueError, TypeError, RuntimeError, KeyError, IndexError) as error:
        raise DataError(f"{path}: not a whole IDX file; fetch it anew") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; check the data folder") from error
    return tensor
