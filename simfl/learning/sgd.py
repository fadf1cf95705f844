"""The local training loop: the only one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from simfl.keys import seed_of
from simfl.learning.problem import ClientData, LocalUpdate, Loss, TrainedModule
from simfl.tensors import Masks, NamedTensors
from simfl.work import Turn


def train(
    net: TrainedModule,
    local: LocalUpdate,
    tensors: NamedTensors,
    masks: Masks | None,
    data: ClientData,
    batches: Iterator[Tensor | slice],
) -> NamedTensors:
    """Run SGD over some batches.

    Pruned weights stay where they are: their gradients are masked. Buffers move with the forward
    pass alone.

    Args:
        net: the network; whatever it held is overwritten.
        local: the loss and the optimiser's options.
        tensors: where training starts; not changed.
        masks: which weights may move.
        data: what the batches index.
        batches: one per step.

    Returns:
        The trained tensors.

    Source: SGD with momentum and weight decay as in torch.optim.SGD. With gradients
    ``accumulate``, PruneFL's public client: zeroed once, step j applies g_1 + ... + g_j.
    """
    net.load(tensors)
    parameters = [parameter.detach() for parameter in net.parameters]
    pruned = _pruned(net, masks)
    velocity = [torch.zeros_like(p) for p in parameters] if local.momentum else []
    for batch in batches:
        output = net.module(data.inputs[batch])
        loss(local.loss, output, data.targets[batch]).backward()
        gradients = net.gradients()
        if local.weight_decay:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=local.weight_decay))
        if pruned:
            # of a gradient that accumulates, the masked entries are never looked at either
            torch._foreach_mul_([gradients[i] for i in pruned], list(pruned.values()))
        if velocity:
            torch._foreach_mul_(velocity, local.momentum)
            torch._foreach_add_(velocity, gradients)
            gradients = velocity
        torch._foreach_add_(parameters, gradients, alpha=-local.learning_rate)
        if local.gradients == "fresh":
            net.drop_gradients()
    net.drop_gradients()
    return NamedTensors(tensors.layout, net.packed.clone())


def _pruned(net: TrainedModule, masks: Masks | None) -> dict[int, Tensor]:
    """The masks of the parameters that have any entry pruned, by position."""
    if masks is None:
        return {}
    sizes = masks.layout.sizes
    return {i: masks.views[name] for i, name in enumerate(net.names) if masks.kept[i] < sizes[i]}


def turn_batches(
    local: LocalUpdate, samples: int, turn: Turn, seed: int
) -> Iterator[Tensor | slice]:
    """The batches of one client's turn, from logical coordinates alone.

    ``sequential`` walks the client's slice in its order; ``shuffled`` draws a permutation for each
    pass from (seed, client, turn).
    """
    if local.order == "sequential":
        yield from local.batches(samples, turn.index)
        return
    generator = torch.Generator().manual_seed(seed_of(seed, "order", turn.client, turn.index))
    for batch in local.batches(samples, turn.index):
        if batch.start == 0:
            order = torch.randperm(samples, generator=generator)
        yield order[batch]


def epoch_batches(samples: int, batch_size: int, epochs: int) -> Iterator[slice]:
    """Whole passes in the order of the data."""
    for _ in range(epochs):
        for start in range(0, samples, batch_size):
            yield slice(start, min(start + batch_size, samples))


def loss(kind: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a batch: targets are classes, or one-hot rows for ``bce_with_logits``."""
    if kind == "bce_with_logits":
        return functional.binary_cross_entropy_with_logits(output, targets)
    return functional.cross_entropy(output, targets)
