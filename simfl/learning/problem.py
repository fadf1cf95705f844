"""The problem: model, data and local update, built once per process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from simfl.datasets.base import Dataset, RecordedDataset
from simfl.keys import seed_of
from simfl.learning.augment import Augmentation
from simfl.learning.chain import ChainNetwork, is_chain
from simfl.learning.network import AutogradNetwork, Loss, Network, floats_of
from simfl.learning.normalization import Normalization
from simfl.learning.optimizers import OptimizerName
from simfl.models.base import Architecture, initialise
from simfl.models.shapes import shaped
from simfl.objectives.base import Term
from simfl.partitions.base import Held, Partition, Share, class_counts
from simfl.partitions.transforms import TRANSFORMS
from simfl.precision import Precision
from simfl.pruning.channels import Channels, channels_of
from simfl.tensors import Layout, NamedTensors
from simfl.work import Cached, Participant

_NETWORKS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUpdate:
    """How one turn trains; the fields are the scenario's `local`."""

    learning_rate: float
    batch_size: int
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    steps: int | None = None
    epochs: int | None = None
    loss: Loss = "cross_entropy"
    gradients: Literal["fresh", "accumulate"] = "fresh"
    order: Literal["shuffled", "sequential"] = "shuffled"
    rate_decay: float = 1.0
    augment: tuple[Augmentation, ...] = ()

    def rate_in(self, turn: int) -> float:
        """The learning rate of a turn; turns count from 1.

        >>> LocalUpdate(learning_rate=0.5, batch_size=1, steps=1, rate_decay=0.5).rate_in(3)
        0.125
        """
        return self.learning_rate * self.rate_decay ** (turn - 1)

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
    """Samples to train on: inputs (samples, channels, height, width), and targets."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem(Cached):
    """What is learnt on what, how: everything that training is a function of, but the algorithm.

    Attributes:
        normalization: what is done to images after they are put into [0, 1].
        seed: the scenario's; every random draw derives from it by logical coordinates.
        objective: terms of every local update's loss, beside the data's.
        recorded: what a trace says of the clients' shares, where that is of the same ones.
        quantize: in which type matrices travel, if not in float32.
        device: where PyTorch computes; draws are made on the CPU in any case.
    """

    architecture: Architecture
    dataset: Dataset
    clients: int
    partition: Partition
    local: LocalUpdate
    seed: int
    objective: tuple[Term, ...] = ()
    normalization: Normalization | None = None
    recorded: Held | None = None
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
                self.partition.key,
                self.normalization,
                self.local,
                self.objective,
                self.seed,
                self.quantize,
            )
        )

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """Which samples each client holds."""
        return self.partition.deal(self.dataset, self.clients, self.seed)

    @cached_property
    def participants(self) -> tuple[Participant, ...]:
        """The clients, and how much data each holds."""
        return tuple(Participant(index=i, samples=n) for i, n in enumerate(self.held.sizes))

    @cached_property
    def held(self) -> Held:
        """What the clients hold, as counts: recorded, or counted."""
        dealt = self.dataset.digest(), self.partition.key, self.clients, self.seed
        if self.recorded and self.recorded.key == repr(dealt):
            return self.recorded
        opened = not isinstance(self.dataset, RecordedDataset)
        return Held(
            key=repr(dealt),
            sizes=[len(share) for share in self.shares],
            classes=[class_counts(self.dataset.train_labels[it.samples]) for it in self.shares]
            if opened
            else None,
            of=[share.writer or share.transform for share in self.shares],
        )

    def network(self, layout: Layout) -> Network:
        """The one network of this process with tensors of these shapes; states are loaded into it.

        Only those made last are kept: of shapes that were pruned away, no state comes back.
        """
        if layout not in self._networks:
            module = self.shaped(layout).build()
            if len(self._networks) == _NETWORKS:
                del self._networks[next(iter(self._networks))]
            self._networks[layout] = (
                ChainNetwork(module, self.device)
                if is_chain(module)
                else AutogradNetwork(module.to(self.device))
            )
        return self._networks[layout]

    def shaped(self, layout: Layout) -> Architecture:
        """The architecture with tensors of these shapes, its operations counted."""
        if layout == self.layout:
            return self.architecture
        if layout not in self._shaped:
            self._shaped[layout] = shaped(self.architecture, layout)
        return self._shaped[layout]

    @cached_property
    def channels(self) -> Channels:
        """Which channels of the network hang together.

        Raises:
            OptionError: they cannot be followed.
        """
        return channels_of(self.architecture.build(), self.architecture.sample_shape)

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

    def samples(self, indices: Tensor, transform: str = "identity") -> ClientData:
        """Training samples by index."""
        images, labels = self.dataset.train_images[indices], self.dataset.train_labels[indices]
        return self._ready(images, labels, transform)

    @cached_property
    def test(self) -> ClientData:
        """The test set."""
        return self._ready(self.dataset.test_images, self.dataset.test_labels)

    def initial_tensors(self, layout: Layout | None = None, *again: int) -> NamedTensors:
        """Parameters as the scenario's seed draws them.

        Args:
            layout: their shapes, where they are not the architecture's own.
            again: numbers of a later draw, which is another.
        """
        generator = torch.Generator().manual_seed(seed_of(self.seed, "init", *again))
        architecture = self.architecture if layout is None else self.shaped(layout)
        module = architecture.build()
        initialise(module, architecture.init, generator)
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
    def _networks(self) -> dict[Layout, Network]:
        return {}

    @cached_property
    def _shaped(self) -> dict[Layout, Architecture]:
        return {}

    @cached_property
    def _client_data(self) -> list[ClientData]:
        if any(share.transform for share in self.shares):
            return [self.samples(share.samples, share.transform) for share in self.shares]
        # one float copy of the training set in the clients' order, and views into it
        every = self.samples(torch.cat([share.samples for share in self.shares]))
        sizes = [len(share) for share in self.shares]
        pairs = zip(every.inputs.split(sizes), every.targets.split(sizes), strict=True)
        return [ClientData(inputs, targets) for inputs, targets in pairs]

    def _ready(self, images: Tensor, labels: Tensor, transform: str = "identity") -> ClientData:
        inputs, targets = images.to(self.device).float().div_(255), labels.to(self.device)
        inputs = TRANSFORMS[transform](inputs).contiguous()
        if self.normalization:
            self.normalization.apply_(inputs)
        if self.local.loss == "bce_with_logits":
            return ClientData(inputs, one_hot(targets, self.dataset.classes).float())
        return ClientData(inputs, targets)
