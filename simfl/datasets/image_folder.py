"""Your own images, as files in a folder for each class, resized to one square size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from simfl.datasets.arrays import PARTS
from simfl.datasets.base import Dataset, DataSpec
from simfl.errors import DataError
from simfl.options import Options
from simfl.registry import DATASETS
from simfl.vision import torchvision


class ImageFolderOptions(Options):
    """Where they lie, and what they become.

    Attributes:
        folder: has ``train`` and ``test``, each with a folder for each class; relative to the
            scenario's folder.
        size: height and width, in pixels; what is not square is squeezed.
        channels: 3 for RGB, 1 for grey.
    """

    folder: str
    size: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3] = 3


@DATASETS.register("image_folder", options=ImageFolderOptions)
def image_folder(options: ImageFolderOptions) -> DataSpec:
    """As torchvision's ImageFolder reads it: classes are folders, in the order of their names."""
    return DataSpec(
        name="image_folder", files=(), read=lambda folder: _read(folder / options.folder, options)
    )


def _read(root: Path, options: ImageFolderOptions) -> Dataset:
    train, test = (_opened(root / part) for part in PARTS)
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        lacks = root / ("test" if odd in train.classes else "train")
        raise DataError(f"{lacks}: no folder {odd}; train and test need the same classes")
    train_images, test_images = (_images(it, options) for it in (train, test))
    return Dataset(
        name="image_folder",
        classes=len(train.classes),
        train_images=train_images,
        train_labels=torch.tensor(train.targets),
        test_images=test_images,
        test_labels=torch.tensor(test.targets),
    )


def _opened(folder: Path) -> Any:
    """A part, listed and not read yet."""
    try:
        return torchvision().datasets.ImageFolder(str(folder))
    except OSError as error:
        reason = "no such folder" if not folder.is_dir() else str(error).partition("\n")[0]
        raise DataError(
            f"{folder}: {reason.rstrip('. ')}; put the images of each class into a folder there"
        ) from error


def _images(found: Any, options: ImageFolderOptions) -> Tensor:
    torchvision()
    from torchvision import transforms

    size = options.size
    ready = transforms.Compose(
        [
            transforms.Grayscale(options.channels) if options.channels == 1 else lambda it: it,
            transforms.Resize((size, size)),
            transforms.PILToTensor(),
        ]
    )
    images = torch.empty(len(found.samples), options.channels, size, size, dtype=torch.uint8)
    for at, (path, _) in enumerate(found.samples):
        try:
            images[at] = ready(found.loader(path))
        except Exception as error:
            # Pillow tells of broken files in many ways
            raise DataError(f"{path}: not a whole image; mend or remove it") from error
    return images
