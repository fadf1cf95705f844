"""The problem: model, data and local update, built once per process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from simfl.datasets.base import Dataset
from simfl.datasets.partition import iid, iid_sizes
from simfl.keys import seed_of
from simfl.learning.chain import ChainNetwork, is_chain
from simfl.learning.network import AutogradNetwork, Loss, Network, floats_of
from simfl.models.base import Architecture, initialise
from simfl.precision import Precision
from simfl.tensors import Layout, NamedTensors
from simfl.work import Cached, Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUpdate:
    """How one turn trains; the fields are the scenario's `local`."""

    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    steps: int | None = None
    epochs: int | None = None
    loss: Loss = "cross_entropy"
    gradients: Literal["fresh", "accumulate"] = "fresh"
    order: Literal["shuffled", "sequential"] = "shuffled"

    def steps_on(self, samples: int) -> int:
        """Steps of one turn on that many samples."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * self.steps_per_epoch(samples)

    def steps_per_epoch(self, samples: int) -> int:
        """Batches of one pass; the last may be short."""
        return -(-samples // self.batch_size)

    def samples_in(self, samples: int, turn: int) -> int:
        """Sample passes of one turn: every batch is full but the last of a pass."""
        steps, per_epoch = self.steps_on(samples), self.steps_per_epoch(samples)
        first = (turn - 1) * steps % per_epoch if self.order == "sequential" else 0
        ends = (first + steps) // per_epoch
        return steps * self.batch_size - ends * (per_epoch * self.batch_size - samples)

    def batches(self, samples: int, turn: int) -> Iterator[slice]:
        """The batches of one turn, as slices of the pass that each belongs to.

        ``sequential`` goes on where the previous turn ended, and round again; ``shuffled`` starts
        a pass anew.
        """
        steps, per_epoch = self.steps_on(samples), self.steps_per_epoch(samples)
        first = (turn - 1) * steps if self.order == "sequential" else 0
        for step in range(first, first + steps):
            start = step % per_epoch * self.batch_size
            yield slice(start, min(start + self.batch_size, samples))


@dataclass(frozen=True, slots=True, eq=False)
class ClientData:
    """Samples to train on: inputs (samples, channels, height, width) in [0, 1], and targets."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem(Cached):
    """What is learnt on what, how: everything that training is a function of, but the algorithm.

    Attributes:
        seed: the scenario's; every random draw derives from it by logical coordinates.
        quantize: in which type matrices travel, if not in float32.
        device: where PyTorch computes; draws are made on the CPU in any case.
    """

    architecture: Architecture
    dataset: Dataset
    clients: int
    local: LocalUpdate
    seed: int
    quantize: Precision | None = None
    device: str = "cpu"

    @cached_property
    def name(self) -> str:
        """What keys depend on: all of it, the data by digest."""
        return repr(
            (
                self.architecture.name,
                self.architecture.options,
                self.dataset.name,
                self.dataset.digest(),
                self.clients,
                self.local,
                self.seed,
                self.quantize,
            )
        )

    @cached_property
    def participants(self) -> tuple[Participant, ...]:
        """The clients, and how much data each holds."""
        sizes = iid_sizes(self.dataset.train_samples, self.clients)
        return tuple(Participant(index=i, samples=size) for i, size in enumerate(sizes))

    @cached_property
    def network(self) -> Network:
        """The one network of this process; states are loaded into it."""
        module = self.architecture.build()
        if is_chain(module):
            return ChainNetwork(module, self.device)
        return AutogradNetwork(module.to(self.device))

    def data_of(self, client: int) -> ClientData:
        """A client's training samples."""
        return self._client_data[client]

    def shortest_batch(self) -> int:
        """The fewest samples that any client's step is given."""
        # a sequential walk comes to the end of the data some day
        walk = replace(self.local, steps=None, epochs=1)
        local = walk if self.local.order == "sequential" else self.local
        held = {participant.samples for participant in self.participants}
        sizes: list[int] = [b.stop - b.start for n in held for b in local.batches(n, 1)]
        return min(sizes)

    def samples(self, indices: Tensor) -> ClientData:
        """Training samples by index."""
        return self._ready(self.dataset.train_images[indices], self.dataset.train_labels[indices])

    @cached_property
    def test(self) -> ClientData:
        """The test set."""
        return self._ready(self.dataset.test_images, self.dataset.test_labels)

    def initial_tensors(self) -> NamedTensors:
        """Parameters as the scenario's seed draws them."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, "init"))
        module = self.architecture.build()
        initialise(module, self.architecture.init, generator)
        return NamedTensors.pack(floats_of(module.to(self.device)))

    @cached_property
    def parameters(self) -> int:
        """Entries that are trained; the rest of the layout are buffers."""
        with torch.device("meta"):
            return sum(p.numel() for p in self.architecture.build().parameters())

    @cached_property
    def layout(self) -> Layout:
        """Names and shapes of the parameters, and of the buffers after them."""
        with torch.device("meta"):
            tensors = floats_of(self.architecture.build())
        return Layout(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))

    def prepare(self) -> None:
        """Read and convert what training looks at, so that processes made now share it."""
        _ = self._client_data, self.test

    @cached_property
    def _parts(self) -> list[Tensor]:
        return iid(self.dataset.train_samples, self.clients, self.seed)

    @cached_property
    def _client_data(self) -> list[ClientData]:
        # one float copy of the training set in the clients' order, and views into it
        every = self.samples(torch.cat(self._parts))
        sizes = [len(part) for part in self._parts]
        pairs = zip(every.inputs.split(sizes), every.targets.split(sizes), strict=True)
        return [ClientData(inputs, targets) for inputs, targets in pairs]

    def _ready(self, images: Tensor, labels: Tensor) -> ClientData:
        inputs, targets = images.to(self.device).float().div_(255), labels.to(self.device)
        if self.local.loss == "bce_with_logits":
            return ClientData(inputs, one_hot(targets, self.dataset.classes).float())
        return ClientData(inputs, targets)
