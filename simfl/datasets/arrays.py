"""Images and labels out of NumPy's archives, every fault told with the file and the array."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
import torch
from torch import Tensor

from simfl.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]
Part = tuple[Tensor, Tensor]
"""Images, uint8 (samples, channels, height, width), and labels, int64 (samples,)."""

_CHANNELS = 4
_BROKEN = (OSError, ValueError, EOFError, BadZipFile, ZlibError)
PARTS = ("train", "test")
ARRAYS = tuple(f"{part}_{what}" for part in PARTS for what in ("images", "labels"))


def read_archive(
    path: Path, names: Collection[str], what: str, *, optional: Collection[str] = ()
) -> dict[str, Array]:
    """Some arrays of an archive.

    Args:
        path: the ``.npz`` file.
        names: the arrays that must be there.
        what: is in it, and how it is mended, for messages.
        optional: arrays that may be there.

    Raises:
        DataError: it is not such an archive, not whole, or lacks an array.
    """
    try:
        with path.open("rb") as raw:
            file = np.load(raw)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array")
            missing = [name for name in names if name not in file]
            if missing:
                raise DataError(f"{path}: lacks the array {missing[0]}; {what}")
            wanted = [*names, *(name for name in optional if name in file)]
            return {name: file[name] for name in wanted}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {what}") from error
    except _BROKEN as error:
        raise DataError(f"{path}: not a whole archive of plain arrays; {what}") from error


def part_of(
    path: Path,
    found: Mapping[str, Array],
    part: str,
    *,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
) -> Part:
    """The images and labels of the training or the test set.

    Args:
        path: for messages.
        found: arrays by name.
        part: ``train`` or ``test``.
        shape: of an image, where only one will do.
        classes: labels are below it, where that is known.

    Raises:
        DataError: they are something else.
    """
    images, labels = found[f"{part}_images"], found[f"{part}_labels"]
    axes = ", ".join(map(str, shape)) if shape else "height, width[, channels]"
    count = f"for {len(labels)} labels" if labels.ndim == 1 else f"beside labels {labels.shape}"
    fits = images.shape[1:] == shape if shape else images.ndim in (3, 4)
    # more channels are another order of the axes
    fits = fits and images.shape[3:] <= (_CHANNELS,)
    alike = labels.ndim == 1 and images.ndim > 0 and len(images) == len(labels)
    if images.dtype != np.uint8 or not fits or not alike or not images.size:
        raise DataError(
            f"{path}: {part}_images is {images.dtype} {images.shape} {count}; "
            f"uint8 (samples, {axes}) is due, and a label for each"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path}: {part}_labels is {labels.dtype}; whole numbers are due")
    if labels.min() < 0 or (classes is not None and labels.max() >= classes):
        most = f" to {classes - 1}" if classes is not None else " and up"
        raise DataError(f"{path}: {part}_labels go beyond 0{most}; mend them there")
    return channels_first(images), torch.as_tensor(labels.astype(np.int64))


def channels_first(images: Array) -> Tensor:
    """From uint8 (samples, height, width) or (samples, height, width, channels)."""
    whole = images if images.ndim == 4 else images[..., None]
    return torch.from_numpy(np.ascontiguousarray(whole.transpose(0, 3, 1, 2)))


def owners_of(names: Array) -> tuple[Tensor, tuple[str, ...]]:
    """From the owner of each sample: indices into the owners' names, and these in order.

    >>> owners_of(np.array(["b", "a", "b"]))
    (tensor([1, 0, 1]), ('a', 'b'))
    """
    known, indices = np.unique(names, return_inverse=True)
    return torch.as_tensor(indices.astype(np.int64)), tuple(map(str, known.tolist()))
