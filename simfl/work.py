"""Counts: the currency between what is computed, what it costs and when it happens.

Nothing here knows a tensor or a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import prod
from typing import Any


class Cached:
    """For a frozen dataclass with cached properties: what is copied or pickled is its fields.

    A cache may hold what is true in one process only, such as the hash of a text.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """What is known of a tensor without holding it.

    Attributes:
        nonzero: stored entries: those a mask keeps where there is one, else all of them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nonzero: int

    @property
    def size(self) -> int:
        """Entries of the dense tensor."""
        return prod(self.shape)

    @property
    def pruned(self) -> bool:
        """Whether any entry is missing."""
        return self.nonzero < self.size


@dataclass(frozen=True, kw_only=True)
class Manifest(Cached):
    """The counts of a result, and its metrics (accuracy, loss) where it is a measurement."""

    tensors: tuple[TensorInfo, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def _hash(self) -> int:
        return hash((self.tensors, tuple(self.metrics.items())))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def size(self) -> int:
        """Entries of all tensors, dense."""
        return sum(t.size for t in self.tensors)

    @cached_property
    def nonzero(self) -> int:
        """Stored entries of all tensors."""
        return sum(t.nonzero for t in self.tensors)


class Storage(Enum):
    """How a layer's weights are held while it computes; the kernel, hence the cost, follows."""

    DENSE = "dense"
    MASKED = "masked"  # dense kernel, a mask multiplied in
    SPARSE = "sparse"  # coordinate list


class Passes(Enum):
    """Which passes over the network one sample takes."""

    FORWARD = "forward"
    TRAIN = "train"  # forward, and backward by weights and inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork:
    """One layer with weights.

    Attributes:
        macs: multiply-accumulates of one sample's dense forward pass (1 MAC = 2 FLOP).
        weights: entries of the dense weight.
        nonzero: stored entries of the weight.
    """

    name: str
    kind: str
    macs: int
    weights: int
    nonzero: int
    storage: Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one computation asks of a device.

    Attributes:
        model: the architecture's name, for a device's list of what it cannot hold.
        samples: sample passes in all (steps x batch).
        steps: optimiser steps (or inference batches): each pays the device's floor.
        sessions: trainings begun anew (data loaded, loop set up); each has a cost.
        moved_bytes: memory traffic outside the layers: averaging, copying, masking.
    """

    model: str = ""
    layers: tuple[LayerWork, ...] = ()
    samples: int = 0
    steps: int = 0
    sessions: int = 0
    passes: Passes = Passes.TRAIN
    moved_bytes: int = 0

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of all sample passes, forward."""
        return self.samples * sum(layer.macs for layer in self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Who takes part, in logical coordinates: the client's index and how much data it holds."""

    index: int
    samples: int

    def __repr__(self) -> str:
        # part of every key, hence by hand: the generated one takes three times as long
        return f"Participant(index={self.index}, samples={self.samples})"


@dataclass(frozen=True, slots=True)
class Turn:
    """One local update: seeds and batches come from here, never from the clock."""

    client: int
    index: int

    def __repr__(self) -> str:
        return f"Turn(client={self.client}, index={self.index})"
