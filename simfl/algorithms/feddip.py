"""FedDIP: dynamic pruning with error feedback, and a penalty that grows.

The server's model is sparse and its mask moves every few rounds; a client takes the gradients of
the pruned model and applies them to the dense one, so that what was pruned may come back. Models
go down sparse and come up dense.

With ``penalty`` 0 it is FedDP, and with ``initial_sparsity`` 0 as well DPF (Lin et al. 2020).

Source: Long et al. 2023, Algorithm 1; what the text leaves out, from its public code.

Departs from the paper: "only pruned models are exchanged" holds for the way down alone; with eq.
(5) a client's weights are dense, and so they are in the public code. The public code also runs the
dense model forward in each step, and throws the result away; here it is not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from simfl.algorithms.base import CountRule, unforetold
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions, dense
from simfl.keys import seed_of
from simfl.learning.problem import Problem
from simfl.learning.sgd import Rule, Trained, Training
from simfl.learning.state import ModelState, Turn
from simfl.objectives.layer_norms import LayerNorms
from simfl.options import Positive, Share
from simfl.pruning.masks import applied, over
from simfl.pruning.schedules import cubic, public_segments, segments
from simfl.pruning.scope import erk_densities, random_masks, smallest_of_all
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks
from simfl.work import Manifest


class FedDIPOptions(FedAvgOptions):
    """Table II.

    Attributes:
        horizon: T, the rounds over which sparsity and penalty grow.
        initial_sparsity: s_0, of the clients' first masks and where the schedule begins.
        final_sparsity: s_p, where it ends (eq. 11).
        reconfigure_every: R, rounds between two masks of the server.
        penalty: lambda_max; 0 is FedDP.
        penalty_parts: Q, steps in which the penalty grows.
        penalty_schedule: eq. (9), as the ``paper`` has it, or the ``public_code``'s: 20 parts that
            begin at 5e-4.
        first_mask: drawn at random by each ``client`` for itself, as in the public code, or by the
            ``server`` once (Algorithm 1, line 3); layer by layer by ERK densities.
        erk_power: the exponent of ERK; 0 is uniform.
        update: gradients of the pruned model go to the ``dense`` one (eq. 5), or to the ``pruned``
            one (eq. 7).
    """

    spans_rounds: ClassVar[tuple[str, ...]] = ("horizon",)
    examples: ClassVar[Examples] = (
        {"horizon": 4, "reconfigure_every": 2, "penalty": 0.01},
        {"horizon": 4, "penalty": 0.0, "first_mask": "server", "reconfigure_every": 2},
        {"horizon": 4, "update": "pruned", "penalty_schedule": "public_code"},
        {"horizon": 4, "penalty": 0.0, "initial_sparsity": 0.0},
    )

    horizon: Positive
    initial_sparsity: Share = 0.5
    final_sparsity: Share = 0.9
    reconfigure_every: Positive = 5
    penalty: Annotated[float, Field(ge=0)] = 1e-3
    penalty_parts: Positive = 10
    penalty_schedule: Literal["paper", "public_code"] = "paper"
    first_mask: Literal["client", "server"] = "client"
    erk_power: Annotated[float, Field(ge=0)] = 1.0
    update: Literal["dense", "pruned"] = "dense"


def _train_counts(algorithm: FedDIP, state: Manifest, _turn: Turn) -> Manifest:
    return dense(state) if algorithm.options.update == "dense" else state


@ALGORITHMS.register("feddip", options=FedDIPOptions)
class FedDIP(AveragedSGD[FedDIPOptions]):
    """Dynamic pruning at the server, feedback and a growing penalty at the clients."""

    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": _train_counts,
        "aggregate": unforetold,
        "mix": unforetold,
    }

    def __init__(self, options: FedDIPOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        layers = problem.architecture.layers
        self._layers = tuple(layer.weight for layer in layers if not layer.shortcut)

    def initial(self) -> ModelState:
        """Lines 1 to 4: dense, or under the server's mask."""
        state = super().initial()
        if self.options.first_mask == "client" or not self.options.initial_sparsity:
            return state
        return state.under(self._drawn(state, -1))

    def begin(self, state: ModelState, turn: Turn) -> Training:
        """Lines 9 and 10: the mask is that of the model received, at first the client's own."""
        training = super().begin(state, turn)
        if state.masks is None and turn.index == 1 and self.options.initial_sparsity:
            return replace(training, masks=self._drawn(state, turn.client))
        return training

    def rule(self, turn: Turn) -> Rule:
        """Lines 11 to 16."""
        rule, options = super().rule(turn), self.options
        terms = rule.terms
        if options.penalty:
            term = LayerNorms(weight=self.penalty_in(turn.index - 1), names=self._layers)
            terms = (*terms, term)
        return replace(rule, terms=terms, feedback=options.update == "dense")

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """With feedback, weights outside the mask are not zero any more."""
        revived = state.masks is not None and self.options.update == "dense"
        return replace(super().end(state, turn, trained), revived=revived)

    def settle(self, mean: ModelState) -> ModelState:
        """Lines 20 to 23: prune by the mask, or by a new one.

        In the public code the mask of round 0 is the clients', and at its end comes the server's
        first, by magnitude: rounds count from 0 there, and 0 is a multiple of R.
        """
        options, t = self.options, mean.rounds - 1
        state = replace(mean, revived=False)
        if state.masks is not None:
            state = replace(state, tensors=applied(state.tensors, state.masks))
        if t % options.reconfigure_every:
            return state
        share = self.sparsity_in(t)
        weights = {name: state.tensors[name] for name in self._layers}
        return state.under(over(state.tensors.layout, smallest_of_all(weights, share)))

    def sparsity_in(self, t: int) -> float:
        """s_t of round t, from 0: the share of the layers' weights that the server prunes."""
        options = self.options
        return cubic(t, options.horizon, options.initial_sparsity, options.final_sparsity)

    def penalty_in(self, t: int) -> float:
        """lambda_t of round t, from 0."""
        options = self.options
        if options.penalty_schedule == "paper":
            return segments(t, options.horizon, options.penalty, options.penalty_parts)
        return public_segments(t, options.horizon, options.penalty)

    def forecast(self) -> Manifest:
        """Dense, or under the server's first mask, by counting."""
        manifest = super().forecast()
        if self.options.first_mask == "client" or not self.options.initial_sparsity:
            return manifest
        kept = self._densities(manifest)
        tensors = (
            replace(t, nonzero=int(kept[t.name] * t.size)) if t.name in kept else t
            for t in manifest.tensors
        )
        return Manifest(tensors=tuple(tensors))

    @property
    def bytes_per_weight(self) -> int:
        """With feedback each step reads weights and mask, and writes the pruned model."""
        penalty = LayerNorms.bytes_per_weight if self.options.penalty else 0
        feedback = 12 if self.options.update == "dense" else 0
        return super().bytes_per_weight + penalty + feedback

    def _drawn(self, state: ModelState, who: int) -> Masks:
        """Random masks at ERK densities, of a client or (-1) the server."""
        shapes = {name: tuple(state.tensors[name].shape) for name in self._layers}
        generator = torch.Generator().manual_seed(seed_of(self.problem.seed, "first mask", who))
        views = random_masks(shapes, self._densities(state.manifest()), generator)
        device = state.tensors.flat.device
        return over(state.tensors.layout, {n: mask.to(device) for n, mask in views.items()})

    def _densities(self, manifest: Manifest) -> dict[str, float]:
        shapes = {t.name: t.shape for t in manifest.tensors if t.name in self._layers}
        return erk_densities(shapes, 1 - self.options.initial_sparsity, self.options.erk_power)
