"""PruneTrain: a lasso pulls weights to zero while they are trained, and what has gone is pruned.

Two variants. ``channels`` is PruneTrain's: group lasso over channels, with a coefficient fixed at
the first step; channels that are nearly zero are pruned for good, at the server. ``magnitude`` is
what FedDIP's public code runs and its paper reports under this name: a penalty on whole layers,
and every client and then the server prune by magnitude, to a schedule.

Source: Lym et al. 2019, sections 3 and 4; Long et al. 2023 and its public code.

Departs from the paper: a channel is cut out of the network once no layer reads it; one that is zero
itself, but read, stays under a mask, since its bias may go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from simfl.algorithms.base import CountRule, unforetold
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.errors import OptionError, ProtocolError
from simfl.learning.network import loss_of
from simfl.learning.problem import Problem
from simfl.learning.sgd import Rule, Trained, Training
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.objectives.base import Point, Term
from simfl.objectives.group_lasso import GroupLasso
from simfl.objectives.layer_norms import LayerNorms
from simfl.options import Positive, Share
from simfl.pruning.masks import over
from simfl.pruning.schedules import cubic
from simfl.pruning.scope import smallest_of_all
from simfl.pruning.surgery import without_unread
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks
from simfl.work import Kind, Storage


class PruneTrainOptions(FedAvgOptions):
    """Which variant, and its numbers.

    Attributes:
        variant: see the module.
        penalty: of ``magnitude``, the weight of the sum of layer norms; FedDIP's authors chose it
            from 1e-1 to 1e-5.
        horizon: of ``magnitude``, rounds over which sparsity grows.
        initial_sparsity: of ``magnitude``, where that begins.
        final_sparsity: of ``magnitude``, where it ends.
        ratio: of ``channels``, the share of the lasso in the loss at the first step.
        threshold: of ``channels``, a channel goes when none of its weights is as large.
        prune_every: of ``channels``, rounds between two looks.
        gone: of ``channels``, what has gone is ``cut`` out of the network, which needs a server; or
            ``masked``, so that its bytes are saved by a codec, and its seconds are not.
    """

    spans_rounds: ClassVar[tuple[str, ...]] = ("horizon",)
    examples: ClassVar[Examples] = (
        {"horizon": 4, "penalty": 0.01},
        {"variant": "channels", "threshold": 0.2, "prune_every": 1},
        {"variant": "channels", "threshold": 0.2, "prune_every": 1, "gone": "masked"},
    )

    variant: Literal["magnitude", "channels"] = "magnitude"
    penalty: Annotated[float, Field(ge=0)] = 1e-3
    horizon: Positive | None = None
    initial_sparsity: Share = 0.5
    final_sparsity: Share = 0.9
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.2
    threshold: Annotated[float, Field(gt=0)] = 1e-4
    prune_every: Positive = 10
    gone: Literal["cut", "masked"] = "cut"


@ALGORITHMS.register("prunetrain", options=PruneTrainOptions)
class PruneTrain(AveragedSGD[PruneTrainOptions]):
    """A lasso at the clients; pruning by what it leaves."""

    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": unforetold,
        "aggregate": unforetold,
        "mix": unforetold,
    }

    def __init__(self, options: PruneTrainOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        names = tuple(x.weight for x in problem.architecture.layers if not x.shortcut)
        if options.variant == "magnitude" and options.horizon is None:
            raise OptionError("horizon", "the rounds over which sparsity grows; give them")
        if options.variant == "magnitude" and len(names) < 3:
            raise OptionError(
                "variant",
                "spares the first and the last layer, and there is no other; take a larger model",
            )
        self._layers = names
        # the first layer and the last are spared
        self._inner = names[1:-1]

    @property
    def relays(self) -> bool:
        """Unless aggregators would cut different channels."""
        return self._by_magnitude or self.options.gone == "masked"

    def begin(self, state: ModelState, turn: Turn) -> Training:
        """By magnitude, all weights are trained, and what was pruned may come back."""
        training = super().begin(state, turn)
        return replace(training, masks=None) if self._by_magnitude else training

    def rule(self, turn: Turn) -> Rule:
        """With the lasso among the terms."""
        rule = super().rule(turn)
        return replace(rule, terms=(*rule.terms, self._lasso))

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """By magnitude, a client prunes its own model before it sends it."""
        ended = super().end(state, turn, trained)
        return self._pruned(ended, turn.index - 1) if self._by_magnitude else ended

    def settle(self, mean: ModelState) -> ModelState:
        """The server, or a peer, prunes the mean."""
        if self._by_magnitude:
            return self._pruned(mean, mean.rounds - 1)
        if mean.rounds % self.options.prune_every:
            return mean
        return self._without_small_channels(mean)

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """Of channels, only where they are masked.

        Raises:
            ProtocolError: peers would cut different ones, and could not average any more.
        """
        if not self._by_magnitude and self.options.gone == "cut":
            raise ProtocolError(
                "prunetrain cuts channels at a server, and here are peers; set gone: masked"
            )
        return super().mix(state, received)

    def storage(self, kind: Kind, *, pruned: bool) -> Storage:
        """By magnitude no mask is at work while a client trains."""
        return Storage.DENSE if self._by_magnitude else super().storage(kind, pruned=pruned)

    @property
    def bytes_per_weight(self) -> int:
        """The lasso's on top."""
        lasso = LayerNorms if self._by_magnitude else GroupLasso
        return super().bytes_per_weight + lasso.bytes_per_weight

    @property
    def _by_magnitude(self) -> bool:
        return self.options.variant == "magnitude"

    @cached_property
    def _lasso(self) -> Term:
        if self._by_magnitude:
            return LayerNorms(weight=self.options.penalty, names=self._inner)
        return self._grouped(self._coefficient())

    def _grouped(self, weight: float) -> GroupLasso:
        """Of the first layer's inputs, which are pixels, and the last's outputs nothing can go."""
        return GroupLasso(weight=weight, inputs=self._layers[1:], outputs=self._layers[:-1])

    def _coefficient(self) -> float:
        """So that lasso / (lasso + loss) is the ratio, on a batch of the first client.

        Source: Lym et al. 2019, section 3.2.
        """
        problem, ratio = self.problem, self.options.ratio
        tensors, data = problem.initial_tensors(), problem.data_of(0)
        some = slice(0, problem.local.batch_size)
        module = problem.architecture.build().to(tensors.flat.device)
        with torch.no_grad():
            output: Tensor = functional_call(module, dict(tensors), (data.inputs[some],))
            loss = loss_of(problem.local.loss, output, data.targets[some])
            at = tensors.flat[None]
            point = Point(at=at, dense=at, start=at, layout=tensors.layout)
            lasso = self._grouped(1.0).value(point)[0]
        return ratio / (1 - ratio) * float(loss) / float(lasso)

    def _pruned(self, state: ModelState, t: int) -> ModelState:
        options = self.options
        assert options.horizon is not None
        share = cubic(t, options.horizon, options.initial_sparsity, options.final_sparsity)
        weights = {name: state.tensors[name] for name in self._inner}
        return state.under(over(state.tensors.layout, smallest_of_all(weights, share)))

    def _without_small_channels(self, state: ModelState) -> ModelState:
        """Channels whose largest weight is below the threshold go, of inputs and of outputs."""
        views = {}
        for name in self._layers:
            size = state.tensors[name].abs()
            out, into = size.flatten(1).amax(1), size.transpose(0, 1).flatten(1).amax(1)
            keep = torch.ones_like(size)
            if name != self._layers[-1]:
                keep[out < self.options.threshold] = 0
            if name != self._layers[0]:
                keep[:, into < self.options.threshold] = 0
            views[name] = keep
        masks = over(state.tensors.layout, views)
        if state.masks is not None:
            masks = Masks(masks.layout, masks.flat * state.masks.flat)
            if torch.equal(masks.flat, state.masks.flat):
                return state
        smaller = state.under(masks)
        if self.options.gone == "masked":
            return smaller
        tensors, left = without_unread(smaller.tensors, masks, self.problem.channels)
        return replace(smaller, tensors=tensors, masks=left)
