"""The problem: model, data and local update, built once per process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from simfl.datasets.base import Dataset
from simfl.datasets.partition import iid
from simfl.keys import seed_of
from simfl.models.base import Architecture, initialise
from simfl.tensors import Layout, NamedTensors
from simfl.work import Participant

Loss = Literal["cross_entropy", "bce_with_logits"]


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
class Problem:
    """What is learnt on what, how: everything that training is a function of, but the algorithm.

    Attributes:
        seed: the scenario's; every random draw derives from it by logical coordinates.
    """

    architecture: Architecture
    dataset: Dataset
    clients: int
    local: LocalUpdate
    seed: int

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
            )
        )

    @cached_property
    def participants(self) -> tuple[Participant, ...]:
        """The clients, and how much data each holds."""
        return tuple(Participant(index=i, samples=len(p)) for i, p in enumerate(self._parts))

    @cached_property
    def module(self) -> TrainedModule:
        """The one network of this process; states are loaded into it."""
        return TrainedModule(self.architecture.build())

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
        """Parameters as the scenario's seed draws them, and buffers as they begin."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, "init"))
        module = self.architecture.build()
        initialise(module, self.architecture.init, generator)
        return NamedTensors.pack(tensors_of(module))

    @cached_property
    def layout(self) -> Layout:
        """Names and shapes of a model's tensors: the parameters, then the buffers."""
        with torch.device("meta"):
            tensors = tensors_of(self.architecture.build())
        return Layout(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))

    @cached_property
    def _parts(self) -> list[Tensor]:
        return iid(len(self.dataset.train_labels), self.clients, self.seed)

    @cached_property
    def _client_data(self) -> list[ClientData]:
        # one float copy of the training set in the clients' order, and views into it
        every = self.samples(torch.cat(self._parts))
        sizes = [len(part) for part in self._parts]
        pairs = zip(every.inputs.split(sizes), every.targets.split(sizes), strict=True)
        return [ClientData(inputs, targets) for inputs, targets in pairs]

    def _ready(self, images: Tensor, labels: Tensor) -> ClientData:
        if self.local.loss == "bce_with_logits":
            return ClientData(
                images.float().div_(255), one_hot(labels, self.dataset.classes).float()
            )
        return ClientData(images.float().div_(255), labels)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """What a model's state consists of: its parameters, then its floating-point buffers.

    The running means and variances of batch normalisation are averaged and sent like parameters.
    Its ``num_batches_tracked`` is left out: nothing depends on it as long as there is a momentum.
    """
    state = module.state_dict(keep_vars=True)
    buffers = {
        name: tensor
        for name, tensor in state.items()
        if tensor.is_floating_point() and not isinstance(tensor, nn.Parameter)
    }
    return {**dict(module.named_parameters()), **buffers}


class TrainedModule:
    """A network whose parameters and buffers are views into one packed vector, ``packed``.

    Attributes:
        parameters: what is trained; their names are ``names``. The forward pass moves the buffers.
    """

    def __init__(self, module: nn.Module) -> None:
        named = tensors_of(module)
        tensors = NamedTensors.pack(named)
        self.module = module
        self.packed = tensors.flat
        self.parameters = list(module.parameters())
        self.names = [name for name, _ in module.named_parameters()]
        for name, tensor in named.items():
            tensor.data = tensors[name]

    def load(self, tensors: NamedTensors) -> None:
        """Take a model's values; gradients are dropped."""
        with torch.no_grad():
            self.packed.copy_(tensors.flat)
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """So that the next backward pass starts from nothing."""
        for parameter in self.parameters:
            parameter.grad = None

    def gradients(self) -> list[Tensor]:
        """What the last backward pass left, in the order of the parameters."""
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]
