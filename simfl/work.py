"""Counts: the currency between what is computed, what it costs and when it happens.

Nothing here knows a tensor or a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Final

DTYPE: Final = "float32"
"""In which everything is computed and held, and travels where nothing else is said."""


BIT: Final = "bit"
"""Of values that are 0 or 1, and travel as such."""


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
        dtype: of its values as they travel.
        nonzero: stored entries: those a mask keeps where there is one, else all of them.
        known: whether its receiver knows already which entries these are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nonzero: int
    known: bool = False

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


@lru_cache(maxsize=1024)
def sent_as(manifest: Manifest, dtype: str) -> Manifest:
    """The counts of what is sent, its matrices' values in that type; vectors are float32.

    Bits are bits in vectors too.
    """
    least = 0 if dtype == BIT else 2
    if all(t.dtype == dtype or len(t.shape) < least for t in manifest.tensors):
        return manifest
    tensors = (replace(t, dtype=dtype) if len(t.shape) >= least else t for t in manifest.tensors)
    return replace(manifest, tensors=tuple(tensors))


@lru_cache(maxsize=1024)
def as_held(manifest: Manifest) -> Manifest:
    """The counts of what was received, as its receiver holds it: no longer on its way."""
    if all(t.dtype == DTYPE and not t.known for t in manifest.tensors):
        return manifest
    tensors = tuple(replace(t, dtype=DTYPE, known=False) for t in manifest.tensors)
    return replace(manifest, tensors=tensors)


class Storage(Enum):
    """How a layer's weights are held while it computes; the kernel, hence the cost, follows."""

    DENSE = "dense"
    MASKED = "masked"  # dense kernel, a mask multiplied in
    COO = "coo"  # coordinate list
    CSR = "csr"  # compressed sparse rows

    @property
    def sparse(self) -> bool:
        """Whether only what is stored is computed with."""
        return self in (Storage.COO, Storage.CSR)


class Passes(Enum):
    """Which passes over the network one sample takes."""

    FORWARD = "forward"
    TRAIN = "train"  # forward, and backward by weights and inputs


class Kind(Enum):
    """Sorts of operations that take their time in the same way."""

    LINEAR = "linear"  # a matrix product, with weights or between activations
    CONV = "conv"
    DEPTHWISE = "depthwise"  # a convolution with a filter for each channel
    ACTIVATION = "activation"  # ReLU and its like: one number from one number
    NORM = "norm"  # batch, layer and group normalisation
    POOL = "pool"
    OTHER = "other"  # additions, concatenations, dropout: memory goes by


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a network, counted from shapes.

    Attributes:
        name: of its weight; of an operation without, what it does.
        macs: multiply-accumulates of one sample's dense forward pass (1 MAC = 2 FLOP).
        products: how many more such passes going backward takes: 2, by weights and by inputs; 1
            where nothing before it is trained, or it has no weights of its own; 0 where neither.
        inputs: numbers of one sample that it reads.
        outputs: numbers of one sample that it makes.
        channels: of a convolution, input channels in a group.
        window: of a convolution, positions of its kernel: 9 for 3 x 3.
        weights: entries of the dense weight.
        parameters: entries of all that it trains, biases too; of what operations share, the first
            has them all.
        tensors: in how many tensors.
        kept_bytes: of one sample, what the backward pass needs of it: stored from the forward pass
            on, and not stored for an earlier operation already. Weights are not in it.
        live_bytes: of one sample, all that is in memory when a forward pass alone has come here.
        once: whether it is done once a step, whatever the batch: it composes a weight of
            parameters. Its numbers, products and bytes are a step's then, not a sample's.
        composed: whether its weight was composed so, and is no parameter itself.
    """

    name: str
    kind: Kind
    macs: int = 0
    products: int = 2
    inputs: int = 0
    outputs: int = 0
    channels: int = 0
    window: int = 0
    weights: int = 0
    parameters: int = 0
    tensors: int = 0
    kept_bytes: int = 0
    live_bytes: int = 0
    once: bool = False
    composed: bool = False

    @property
    def keeps_weight(self) -> bool:
        """Whether it computes with a weight that is one of the model's own tensors."""
        return self.weights > 0 and not self.once and not self.composed


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork(Operation):
    """An operation and how its weight is held.

    Attributes:
        nonzero: stored entries of the weight.
    """

    nonzero: int = 0
    storage: Storage = Storage.DENSE

    @property
    def shares(self) -> bool:
        """Whether an earlier operation has the same weight, or its parameters."""
        return self.parameters < self.weights

    @property
    def passes_back(self) -> bool:
        """Whether its inputs have gradients: of its products, one is of its own weights."""
        return self.products > (self.parameters > 0 or self.weights > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one computation asks of a device.

    Attributes:
        model: the architecture's name, for what a device knows of models.
        layers: its operations, in the order of the forward pass.
        samples: sample passes in all (steps x batch).
        steps: optimiser steps (or inference batches): each pays the device's floor.
        batch: the most samples that are in memory at once.
        slots: numbers that the optimiser keeps for each parameter: 1 with momentum.
        sessions: trainings begun anew (data loaded, loop set up); each has a cost.
        moved_bytes: memory traffic outside the layers: averaging, copying, masking.
        tested: samples that only go forward, beside the steps: a model is tried before it trains.
    """

    model: str = ""
    layers: tuple[LayerWork, ...] = ()
    samples: int = 0
    steps: int = 0
    batch: int = 0
    slots: int = 0
    sessions: int = 0
    passes: Passes = Passes.TRAIN
    moved_bytes: int = 0
    tested: int = 0

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates of all sample passes, forward, with what steps do once."""
        return sum((self.steps if n.once else self.samples) * n.macs for n in self.layers)

    @property
    def test(self) -> Workload:
        """The forward passes of what is tested, in batches as large as the steps'."""
        return Workload(
            model=self.model,
            layers=self.layers,
            samples=self.tested,
            steps=-(-self.tested // max(1, self.batch)),
            batch=min(self.tested, self.batch),
            passes=Passes.FORWARD,
        )


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
