"""What a data set is once read: uint8 images and labels, in memory, with a digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from torch import Tensor

from simfl.options import Options


class NoOptions(Options):
    """Data sets have no options of their own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images and labels.

    Attributes:
        train_images: uint8, (samples, channels, height, width); models see values / 255.
        train_labels: int64, (samples,), in [0, classes).
        test_images: as the training images.
        test_labels: as the training labels.
    """

    name: str
    classes: int
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def digest(self) -> str:
        """The digest of every byte of it, taken once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = blake2b(digest_size=16)
        shapes = tuple(self.train_images.shape), tuple(self.test_images.shape)
        digest.update(repr((self.classes, shapes)).encode())
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """How a data set is had.

    Attributes:
        files: what it needs in the data folder; empty for one that travels with a library.
        or_files: the same in another form, which does as well.
        read: from the data folder to the data.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], Dataset]
    or_files: tuple[str, ...] = ()

    def missing_in(self, folder: Path) -> list[str]:
        """The needed files that the folder lacks: none if it has them in one of their forms."""
        forms = (self.files, self.or_files) if self.or_files else (self.files,)
        missing = [[name for name in form if not (folder / name).is_file()] for form in forms]
        return [] if [] in missing else missing[0]
