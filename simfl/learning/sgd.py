"""The local training loop: the only one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from simfl.keys import seed_of
from simfl.learning.network import Network
from simfl.learning.problem import ClientData, LocalUpdate
from simfl.tensors import Masks, NamedTensors
from simfl.work import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What one training starts from.

    Attributes:
        tensors: the model; not changed. Pruned entries are zero.
        masks: which weights there are; None for all of them.
        data: what the batches index.
        batches: one per step.
        seed: of what the network draws while it trains.
    """

    tensors: NamedTensors
    masks: Masks | None
    data: ClientData
    batches: Sequence[Tensor | slice]
    seed: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples per step; trainings of one shape can run side by side."""
        return tuple(b.stop - b.start if isinstance(b, slice) else len(b) for b in self.batches)


def train(net: Network, local: LocalUpdate, trainings: Sequence[Training]) -> list[NamedTensors]:
    """Run SGD; each training's result is the same whichever others it runs beside.

    Pruned weights are zero and stay zero.

    Args:
        net: the network; whatever it held is overwritten. Trainings of the same shape are stacked,
            as many as it takes.
        local: the loss and the optimiser's options.
        trainings: independent of each other.

    Returns:
        The trained tensors, in the order given.

    Source: SGD with momentum and weight decay as in torch.optim.SGD. With gradients
    ``accumulate``, PruneFL's public client: zeroed once, step j applies g_1 + ... + g_j.
    """
    trained: dict[int, NamedTensors] = {}
    shapes = [training.shape for training in trainings]
    by_shape = sorted(range(len(trainings)), key=shapes.__getitem__)
    for _, alike in groupby(by_shape, key=shapes.__getitem__):
        for group in _cut(list(alike), net.widest):
            together = _train_together(net, local, [trainings[i] for i in group])
            trained.update(zip(group, together, strict=True))
    return [trained[i] for i in range(len(trainings))]


def _train_together(
    net: Network, local: LocalUpdate, trainings: list[Training]
) -> list[NamedTensors]:
    net.load([training.tensors.flat for training in trainings])
    net.seed(trainings[0].seed)  # who draws has but one
    weights, masks = net.weights, _stacked_masks(trainings)
    plain = not (local.momentum or local.weight_decay) and local.gradients == "fresh"
    velocity = torch.zeros_like(weights) if local.momentum else None
    for step, batches in enumerate(zip(*(t.batches for t in trainings), strict=True)):
        pairs = list(zip(trainings, batches, strict=True))
        inputs = _stack([training.data.inputs[batch] for training, batch in pairs])
        targets = _stack([training.data.targets[batch] for training, batch in pairs])
        if plain:
            net.descend(inputs, targets, local.loss, local.learning_rate)
        else:
            add = step > 0 and local.gradients == "accumulate"
            gradient = net.gradient(inputs, targets, local.loss, add=add)
            if local.weight_decay:
                gradient = gradient.add(weights, alpha=local.weight_decay)
            if velocity is not None:
                gradient = velocity.mul_(local.momentum).add_(gradient)
            weights.add_(gradient, alpha=-local.learning_rate)
        if masks is not None:
            net.packed.mul_(masks)
    rows = zip(trainings, net.packed, strict=True)
    return [NamedTensors(training.tensors.layout, row.clone()) for training, row in rows]


def _stacked_masks(trainings: list[Training]) -> Tensor | None:
    """(models, entries); None where nothing is pruned."""
    masks = [training.masks for training in trainings]
    if all(m is None or m.manifest.nonzero == m.layout.size for m in masks):
        return None
    flats = [
        torch.ones_like(t.tensors.flat) if t.masks is None else t.masks.flat for t in trainings
    ]
    return _stack(flats)


def _stack(parts: list[Tensor]) -> Tensor:
    """One more dimension in front; a single part is not copied."""
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)


def _cut(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def turn_batches(local: LocalUpdate, samples: int, turn: Turn, seed: int) -> list[Tensor | slice]:
    """The batches of one client's turn, from logical coordinates alone.

    ``sequential`` walks the client's slice in its order; ``shuffled`` draws a permutation for each
    pass from (seed, client, turn).
    """
    batches = list(local.batches(samples, turn.index))
    if local.order == "sequential":
        return list(batches)
    generator = torch.Generator().manual_seed(seed_of(seed, "order", turn.client, turn.index))
    found: list[Tensor | slice] = []
    for batch in batches:
        if batch.start == 0:
            order = torch.randperm(samples, generator=generator)
        found.append(order[batch])
    return found


def epoch_batches(samples: int, batch_size: int, epochs: int) -> list[Tensor | slice]:
    """Whole passes in the order of the data."""
    starts = range(0, samples, batch_size)
    one = [slice(start, min(start + batch_size, samples)) for start in starts]
    return [batch for _ in range(epochs) for batch in one]
