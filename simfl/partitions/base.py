"""What a partition is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from simfl.keys import seed_of
from simfl.registry import PARTITIONS


class Samples(Protocol):
    """What a partition may look at of a data set; see `simfl.datasets.base.Dataset`.

    Of a recorded run only the counts are at hand: a partition that looks no further can be timed
    again for any number of clients.
    """

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def classes(self) -> int:
        """Labels are below it."""

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""

    @property
    def train_samples(self) -> int:
        """Indices are below it."""

    @property
    def train_labels(self) -> Tensor:
        """int64, (samples,)."""

    @property
    def train_owners(self) -> Tensor | None:
        """int64, (samples,): indices into the owners' names."""

    @property
    def owner_names(self) -> tuple[str, ...]:
        """Sorted."""


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one client holds.

    Attributes:
        samples: int64, (held,): indices into the training set.
        transform: what is done to its images, by name; see `simfl.partitions.transforms`.
        writer: who wrote them, for a person; of several, the first and the last.
    """

    samples: Tensor
    transform: str = ""
    writer: str = ""

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the clients hold, as counts: what a trace records, and a plan shows.

    Attributes:
        key: of the data, the partition, the number of clients and the seed.
        sizes: samples of each client.
        classes: of each client, samples by class; None where the labels were not at hand.
        of: of each client, whose samples they are or what is done to them; empty for neither.
    """

    key: str
    sizes: list[int]
    classes: list[dict[str, int]] | None
    of: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A registered partition with its options."""

    name: str
    options: Any

    @property
    def key(self) -> str:
        """What keys depend on: the name, and each option that is not at its default."""
        return f"{self.name} {self.options.model_dump(mode='json', exclude_defaults=True)}"

    def deal(self, data: Samples, clients: int, seed: int) -> tuple[Share, ...]:
        """The clients' shares, in their order.

        Raises:
            OptionError: an option that does not fit the data or the number of clients.
            ReplayMiss: the data is known by counts alone, and more is asked of it.
        """
        build = PARTITIONS.get(self.name).build
        return tuple(build(self.options, data, clients, seed=seed))


def class_counts(labels: Tensor) -> dict[str, int]:
    """Samples of each class that is there, the classes as text.

    >>> class_counts(torch.tensor([3, 0, 3]))
    {'0': 1, '3': 2}
    """
    classes, counts = labels.unique(return_counts=True)
    return dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))


def generator_of(seed: int, *purpose: str | int) -> torch.Generator:
    """The draws of a partition, from the scenario's seed."""
    return torch.Generator().manual_seed(seed_of(seed, "partition", *purpose))
