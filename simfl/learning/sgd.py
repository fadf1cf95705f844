"""The local training loop: the only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from simfl.keys import seed_of
from simfl.learning.augment import augmented
from simfl.learning.network import Network
from simfl.learning.optimizers import optimizer
from simfl.learning.problem import ClientData, LocalUpdate
from simfl.learning.scores import Scores
from simfl.objectives.base import Point, Term
from simfl.tensors import Layout, Masks, NamedTensors
from simfl.work import Turn

Watched = Literal["turn", "last_step"]
Moments = tuple[Tensor, ...]
Networks = Callable[[Layout], Network]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the steps of a training differ from plain SGD; trainings of one rule can be stacked.

    Attributes:
        rate: the learning rate; None for the local update's own.
        terms: of the loss, beside the data's.
        feedback: pruned weights live on: each step takes its gradient at the pruned model and
            applies it to the dense one (Long et al. 2023, eq. 5). Else they stay zero (eq. 7).
        watch: which gradients of the data's loss to give back: their sum over the ``turn``, or that
            of the ``last_step``; by all parameters, pruned ones too.
        scores: what is trained are scores of frozen weights, and the network has some of these.
    """

    rate: float | None = None
    terms: tuple[Term, ...] = ()
    feedback: bool = False
    watch: Watched | None = None
    scores: Scores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What one training starts from.

    Attributes:
        tensors: the model; not changed. Pruned entries are zero, but with feedback.
        masks: which weights there are; None for all of them.
        data: what the batches index.
        batches: one per step.
        rule: how its steps go.
        seed: of what the network draws while it trains.
        moments: of the optimiser, where it goes on from another training; each (parameters,).
    """

    tensors: NamedTensors
    masks: Masks | None
    data: ClientData
    batches: Sequence[Tensor | slice]
    rule: Rule = Rule()
    seed: int = 0
    moments: Moments = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples per step; trainings of one shape and rule can run side by side."""
        return tuple(b.stop - b.start if isinstance(b, slice) else len(b) for b in self.batches)


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training ended with.

    Attributes:
        gradient: what its rule watched, (parameters,).
        moments: what its optimiser carries on.
    """

    tensors: NamedTensors
    gradient: Tensor | None = None
    moments: Moments = ()


def train(network: Networks, local: LocalUpdate, trainings: Sequence[Training]) -> list[Trained]:
    """Run the optimiser; each training's result is the same whichever others it runs beside.

    Args:
        network: gives the network for tensors of some shapes; whatever it held is overwritten.
            Trainings of the same layout, steps and rule are stacked, as many as it takes.
        local: the loss and the optimiser's options.
        trainings: independent of each other.

    Returns:
        What each ended with, in the order given.

    Source: weight decay as in torch.optim.SGD and torch.optim.Adam. With gradients
    ``accumulate``, PruneFL's public client: zeroed once, step j applies g_1 + ... + g_j; loss terms
    do not accumulate.
    """
    alike: dict[tuple[Layout, object, Rule, bool], list[int]] = {}
    for number, training in enumerate(trainings):
        begun = bool(training.moments)
        sort = training.tensors.layout, training.shape, training.rule, begun
        alike.setdefault(sort, []).append(number)
    trained: dict[int, Trained] = {}
    for (layout, *_), numbers in alike.items():
        net = network(layout)
        for group in _cut(numbers, net.widest):
            together = _train_together(net, local, [trainings[i] for i in group])
            trained.update(zip(group, together, strict=True))
    return [trained[i] for i in range(len(trainings))]


def _train_together(net: Network, local: LocalUpdate, trainings: list[Training]) -> list[Trained]:
    net.load([training.tensors.flat for training in trainings])
    net.seed(trainings[0].seed)  # who draws has but one
    rule, layout = trainings[0].rule, trainings[0].tensors.layout
    rate = local.learning_rate if rule.rate is None else rule.rate
    masks = _stacked_masks(trainings)
    at = net.weights
    kept = None if masks is None or not rule.feedback else masks[:, : at.shape[1]]
    weights = at if kept is None and rule.scores is None else at.clone()
    start = at.clone() if rule.terms else at
    plain = _is_plain(local, rule) and kept is None
    begun = [
        _stack(list(parts)).clone() for parts in zip(*(t.moments for t in trainings), strict=True)
    ]
    takes = optimizer(local.optimizer, local.momentum, at, tuple(begun))
    watched = torch.zeros_like(at) if rule.watch else None
    # draws of crops, flips and weights, each training its own
    seeds = [training.seed for training in trainings] if local.augment or rule.scores else []
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    for step, batches in enumerate(zip(*(t.batches for t in trainings), strict=True)):
        pairs = list(zip(trainings, batches, strict=True))
        images = [training.data.inputs[batch] for training, batch in pairs]
        if local.augment:
            drawn = zip(images, streams, strict=True)
            images = [augmented(some, local.augment, stream) for some, stream in drawn]
        inputs = _stack(images)
        targets = _stack([training.data.targets[batch] for training, batch in pairs])
        if kept is not None:
            torch.mul(weights, kept, out=at)
        if rule.scores is not None:
            rule.scores.draw(weights, at, streams)
        if plain:
            net.descend(inputs, targets, local.loss, rate)
        else:
            add = step > 0 and local.gradients == "accumulate"
            gradient = net.gradient(inputs, targets, local.loss, add=add)
            if rule.scores is not None:
                gradient = rule.scores.by_score(gradient, weights)
            if watched is not None:
                watched = watched + gradient if rule.watch == "turn" else gradient.clone()
            if rule.terms:
                if local.gradients == "accumulate":
                    # the network's own, to which its next step will add
                    gradient = gradient.clone()
                point = Point(at=at, dense=weights, start=start, layout=layout)
                for term in rule.terms:
                    term.add_to(gradient, point)
            if local.weight_decay:
                gradient = gradient.add(weights, alpha=local.weight_decay)
            takes.step(weights, gradient, rate)
        if masks is not None and kept is None:
            net.packed.mul_(masks)
    if weights is not at:
        at.copy_(weights)
    return [
        Trained(
            NamedTensors(layout, row.clone()),
            None if watched is None else watched[i].clone(),
            tuple(moment[i].clone() for moment in takes.moments),
        )
        for i, row in enumerate(net.packed)
    ]


def _is_plain(local: LocalUpdate, rule: Rule) -> bool:
    """Whether a step subtracts the gradient of the data's loss, and nothing else."""
    more = local.momentum or local.weight_decay or rule.terms or rule.watch or rule.scores
    return not more and local.optimizer == "sgd" and local.gradients == "fresh"


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
