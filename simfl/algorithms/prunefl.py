"""PruneFL, early version: prune at the server first, and if wanted further between federations.

Source: Jiang, Wang, Ko, Lee, Tassiulas, Model Pruning Enables Efficient Federated Learning on Edge
Devices (2019), section 3.2; levels as in section 3.1, layer-wise.

Where the text and the authors' public code (January 2020) differ, both are options: `sample_choice`
here; `gradients`, `loss`, `order` and `init` in the scenario.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from simfl.algorithms.base import CountRule, WorkRule
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.errors import OptionError, ProtocolError
from simfl.keys import seed_of
from simfl.learning.problem import Problem
from simfl.learning.sgd import Training, epoch_batches, train
from simfl.learning.state import ModelState, Payload, Received
from simfl.options import Positive, Share
from simfl.pruning.masks import drop_smallest, full, over, remaining_after
from simfl.pruning.scores import magnitude, random
from simfl.registry import ALGORITHMS
from simfl.work import Kind, Manifest, Storage, Workload

MAX_LEVEL = 30
Level = Annotated[int, Field(ge=0, le=MAX_LEVEL)]


class PruneFLOptions(FedAvgOptions):
    """The four variants are ``initial`` x ``federated``.

    Attributes:
        average: ``uniform`` as in the public code; by samples is the same for equal shares.
        initial: what ranks the weights at the server: their magnitude after training on the
            server's samples, their magnitude as initialised, or chance.
        level: pruning steps at the server.
        federated: prune on, between federations, to ``final_level``.
        prune_every: federations between two of those steps (100 for LeNet-300-100, section 5.1.2).
        rates: share of the remaining weights that one level removes, one per layer with weights.
            Left out, Table 1's: 20 % of a linear layer, 10 % of the output layer, 5 % of the first
            convolution and 10 % of the others.
        server_samples: training samples that the server holds (Table 1).
        sample_choice: ``random`` (section 5.1); the ``first_per_class`` in the data set's order
            (public code); or the ``first_writers``' by name, as many as have written so many: a
            biased lot (section 5.3).
        server_epochs: passes over them before each level (section 5).
        reinitialize: after each level, put what is left back to the weights as drawn (section 6.3),
            as in Frankle and Carbin 2019, "The lottery ticket hypothesis".
    """

    examples: ClassVar[Examples] = (
        {"level": 1, "server_samples": 12, "server_epochs": 2},
        {"level": 3, "initial": "initialization", "server_samples": 12},
        {"level": 2, "initial": "random", "server_samples": 12},
        {
            **{"level": 2, "initial": "initialization", "federated": True},
            **{"final_level": 4, "prune_every": 1, "server_samples": 12},
        },
        {"level": 2, "server_samples": 12, "server_epochs": 2, "reinitialize": True},
    )

    average: Literal["samples", "uniform"] = "uniform"
    initial: Literal["sample_based", "initialization", "random"] = "sample_based"
    level: Level
    federated: bool = False
    final_level: Level | None = None
    prune_every: Positive = 100
    rates: list[Share] | None = None
    server_samples: Positive = 200
    sample_choice: Literal["random", "first_per_class", "first_writers"] = "random"
    server_epochs: Positive = 50
    reinitialize: bool = False


def _initial_work(algorithm: PruneFL) -> Workload:
    options, local = algorithm.options, algorithm.problem.local
    dense = algorithm.counts_at(0)
    moved = 4 * dense.size * options.level
    if options.initial != "sample_based":
        return Workload(moved_bytes=moved)
    epochs = options.level * options.server_epochs
    work = algorithm.training(
        dense,
        steps=epochs * local.steps_per_epoch(options.server_samples),
        samples=epochs * options.server_samples,
    )
    return replace(work, sessions=options.level, moved_bytes=moved)


def _aggregate_counts(algorithm: PruneFL, state: Manifest, received: Any) -> Manifest | None:
    """Which federations prune, and what that leaves, is seen in the state only."""
    if algorithm.options.federated:
        return None
    return AveragedSGD.counts["aggregate"](algorithm, state, received)


@ALGORITHMS.register("prunefl", options=PruneFLOptions)
class PruneFL(AveragedSGD[PruneFLOptions]):
    """Initial pruning at the server, one-shot or continued between federations."""

    work: ClassVar[Mapping[str, WorkRule]] = {**AveragedSGD.work, "initial": _initial_work}
    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "aggregate": _aggregate_counts,
    }

    def __init__(self, options: PruneFLOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        layers = [layer.weight for layer in problem.architecture.layers]
        if options.rates is not None and len(options.rates) != len(layers):
            raise OptionError(
                "rates",
                f"{len(options.rates)} given for the {len(layers)} layers of "
                f"{problem.architecture.name}; give one for each of {', '.join(layers)}",
            )
        if options.federated and (options.final_level or 0) <= options.level:
            raise OptionError(
                "final_level",
                f"federated pruning starts at level {options.level} and ends at "
                f"{options.final_level}; give a higher level to end at",
            )
        held = problem.dataset.train_samples
        if options.server_samples > held:
            raise OptionError(
                "server_samples",
                f"{options.server_samples} of {held} training samples; give fewer",
            )

    def initial(self) -> ModelState:
        """Steps 1 and 2 of section 3.2.3: initialise, and prune level by level."""
        # one at a time: thirty levels of a large model would fill the memory
        return deque(self.levels(), maxlen=1).pop()

    def levels(self) -> Iterator[ModelState]:
        """The model as drawn, and after each level at the server."""
        options, problem = self.options, self.problem
        state = super().initial()
        yield state
        drawn = state.tensors
        generator = torch.Generator().manual_seed(seed_of(problem.seed, "random pruning"))
        local = replace(problem.local, gradients="fresh")
        samples = problem.samples(self._server_samples())
        for level in range(options.level):
            if options.initial == "sample_based":
                batches = epoch_batches(len(samples), local.batch_size, options.server_epochs)
                start = Training(
                    tensors=state.tensors,
                    masks=state.masks,
                    data=samples,
                    batches=batches,
                    seed=seed_of(problem.seed, "server's draws", level),
                )
                [trained] = train(problem.network, local, [start])
                state = replace(state, tensors=trained.tensors)
            score = magnitude if options.initial != "random" else _with(generator)
            state = self._next_level(state, score)
            if options.reinitialize:
                state = replace(state, tensors=drawn).under(state.masks or full(drawn.layout))
            yield state

    def settle(self, mean: ModelState) -> ModelState:
        """Federated pruning takes a level more every `prune_every` federations."""
        options = self.options
        due = options.federated and mean.rounds % options.prune_every == 0
        if due and mean.level < (options.final_level or 0):
            return self._next_level(mean, magnitude)
        return mean

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """The mean under the masks that all peers began with.

        Raises:
            ProtocolError: pruning on is the server's.
        """
        if self.options.federated:
            raise ProtocolError(
                "prunefl prunes on at a server, and here are peers; set "
                "learning.algorithm.federated=false"
            )
        return super().mix(state, received)

    def forecast(self) -> Manifest:
        """Counts after the initial pruning."""
        return self.counts_at(self.options.level)

    def counts_at(self, level: int) -> Manifest:
        """The manifest of the model at a level, by counting: n <- n - int(rate x n) per level."""
        dense = super().forecast()
        rates = self._rates()
        tensors = []
        for info in dense.tensors:
            kept = info.size
            for _ in range(level if info.name in rates else 0):
                kept = remaining_after(kept, rates[info.name])
            tensors.append(replace(info, nonzero=kept))
        return Manifest(tensors=tuple(tensors))

    def storage(self, kind: Kind, *, pruned: bool) -> Storage:
        """Pruned matrices are sparse, pruned convolutions masked (section 4.3)."""
        if not pruned:
            return Storage.DENSE
        return Storage.COO if kind is Kind.LINEAR else Storage.MASKED

    def holds_from(self, fits: Callable[[Workload], bool]) -> str:
        """The first level of which a whole batch fits."""
        samples = self.problem.local.batch_size
        for level in range(self.options.level + 1, MAX_LEVEL + 1):
            if fits(self.training(self.counts_at(level), steps=1, samples=samples)):
                return f"it fits from level {level}; set learning.algorithm.level={level}"
        return ""

    def _next_level(self, state: ModelState, score: Callable[[Tensor], Tensor]) -> ModelState:
        """One level (section 3.1): layer by layer, drop the lowest-scored of what is left."""
        masks = state.masks or full(state.tensors.layout, state.tensors.flat.device)
        views = {name: mask.clone() for name, mask in masks.views.items()}
        for name, rate in self._rates().items():
            views[name] = drop_smallest(views[name], score(state.tensors[name]), rate)
        return replace(state.under(over(masks.layout, views)), level=state.level + 1)

    def _rates(self) -> dict[str, float]:
        """Rate by weight name; Table 1's where the scenario gives none."""
        layers = self.problem.architecture.layers
        if self.options.rates is not None:
            return {
                layer.weight: rate for layer, rate in zip(layers, self.options.rates, strict=True)
            }
        rates = {}
        for index, layer in enumerate(layers):
            linear = 0.1 if layer.output else 0.2
            rates[layer.weight] = linear if layer.kind == "linear" else 0.1 if index else 0.05
        return rates

    def _server_samples(self) -> Tensor:
        """Indices into the training set."""
        labels, wanted = self.problem.dataset.train_labels, self.options.server_samples
        if self.options.sample_choice == "random":
            seed = seed_of(self.problem.seed, "server samples")
            return torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[
                :wanted
            ]
        if self.options.sample_choice == "first_writers":
            return self._first_written(wanted)
        share = -(-wanted // self.problem.dataset.classes)
        first = [(labels == c).nonzero()[:share, 0] for c in range(self.problem.dataset.classes)]
        return torch.cat(first).sort().values[:wanted]

    def _first_written(self, wanted: int) -> Tensor:
        data = self.problem.dataset
        if data.train_owners is None:
            raise OptionError(
                "sample_choice", f"{data.name} does not say who wrote what; choose random"
            )
        return data.train_owners.argsort(stable=True)[:wanted]


def _with(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    return lambda weight: random(weight, generator)
