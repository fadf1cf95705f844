"""What a data set is once read: uint8 images and labels, in memory, with a digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import Tensor

from simfl.errors import ReplayMiss
from simfl.options import Options


class NoOptions(Options):
    """For data sets without options of their own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images and labels.

    Attributes:
        train_images: uint8, (samples, channels, height, width); models see values / 255.
        train_labels: int64, (samples,), in [0, classes).
        test_images: as the training images.
        test_labels: as the training labels.
        train_owners: int64, (samples,): who wrote each training sample, as an index into
            ``owner_names``; None where that is not known.
        owner_names: sorted.
    """

    name: str
    classes: int
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    train_owners: Tensor | None = None
    owner_names: tuple[str, ...] = ()

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def train_samples(self) -> int:
        """Samples to train on."""
        return len(self.train_labels)

    @property
    def test_samples(self) -> int:
        """Samples to test on."""
        return len(self.test_labels)

    def digest(self) -> str:
        """The digest of every byte of it, taken once."""
        return self._digest

    def facts(self) -> dict[str, Any]:
        """What a trace records of it: all that timing asks of a data set."""
        return {
            "name": self.name,
            "classes": self.classes,
            "sample_shape": list(self.sample_shape),
            "train_samples": self.train_samples,
            "test_samples": self.test_samples,
            "digest": self.digest(),
        }

    @cached_property
    def _digest(self) -> str:
        digest = blake2b(digest_size=16)
        shapes = tuple(self.train_images.shape), tuple(self.test_images.shape)
        digest.update(repr((self.classes, shapes)).encode())
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(part.contiguous().numpy().data)
        if self.train_owners is not None:
            digest.update(repr(self.owner_names).encode())
            digest.update(self.train_owners.contiguous().numpy().data)
        return digest.hexdigest()


class RecordedDataset(Dataset):
    """A data set as a trace knows it: enough to time what was learnt on it, and no image.

    Args:
        facts: as `Dataset.facts` gave them.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        known = {name: facts[name] for name in ("name", "classes")}
        object.__setattr__(self, "_facts", dict(facts))
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("train_", "test_")):
            raise self._unopened()
        raise AttributeError(name)

    def _unopened(self) -> ReplayMiss:
        return ReplayMiss(f"{self.name} is not opened to re-time a run; allow training (--train)")

    @property
    def train_owners(self) -> Tensor:
        """Not recorded."""
        raise self._unopened()

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """As recorded."""
        channels, height, width = self._facts["sample_shape"]
        return channels, height, width

    @property
    def train_samples(self) -> int:
        """As recorded."""
        return int(self._facts["train_samples"])

    @property
    def test_samples(self) -> int:
        """As recorded."""
        return int(self._facts["test_samples"])

    def digest(self) -> str:
        """As recorded."""
        return str(self._facts["digest"])


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """How a data set is had.

    Attributes:
        files: what it needs in the data folder, as names or patterns; empty for one that travels
            with a library, or lies where its options say.
        or_files: the same in another form, which does as well.
        read: from the data folder to the data; where no files are needed there, from the
            scenario's folder.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], Dataset]
    or_files: tuple[str, ...] = ()

    def missing_in(self, folder: Path) -> list[str]:
        """The needed files that the folder lacks: none if it has them in one of their forms."""
        forms = (self.files, self.or_files) if self.or_files else (self.files,)
        missing = [
            [name for name in form if not any(it.is_file() for it in folder.glob(name))]
            for form in forms
        ]
        return [] if [] in missing else missing[0]
