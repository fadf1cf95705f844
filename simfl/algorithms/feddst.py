"""FedDST: sparse training from the first round on, whose mask the clients move.

The server prunes its model to a sparsity before the first round. Every some rounds a client that
has trained drops its smallest weights and grows as many others, where the gradient is largest; the
server averages each weight over those who have it, and prunes what the masks have together.

With ``objective: [{name: proximal, mu: ...}]`` it is FedDST+FedProx.

Source: Bibikar et al. 2022, Algorithm 1; what the text leaves out, from its public code.

Departs from the public code: weights grow among those that are pruned, where the code takes the
largest gradients of all, and zeroes the kept weights among them. The gradient is the one that the
last step took, where the code computes it once more after that. The server prunes as soon as the
masks have more weights together than one of them, so that messages keep their size; the code bears
what rounding left over. A mask that was readjusted is sent, even if it came out as it was; and so
are the first model and its mask, for which the code sends a seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Annotated, ClassVar, Final, Literal

import torch
from pydantic import Field

from simfl.algorithms.base import CountRule, WorkRule
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.learning.averaging import masked_mean
from simfl.learning.problem import Problem
from simfl.learning.sgd import Rule, Trained
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.options import Positive, Share
from simfl.pruning.masks import applied, full, grow_largest, keep_largest, over
from simfl.pruning.schedules import cosine
from simfl.pruning.scope import erk_densities, public_erk_kept
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks, NamedTensors
from simfl.work import Manifest, Workload

# of one weight: to prune, it and its mask are read, and a mask is written; to grow, its gradient
# and the mask are read, mask and weight are written; sorting is not in it
_READJUSTED_BYTES: Final = 3 * 4 + 4 * 4
# of one weight and update: its mask is read, and the sum of masks read and written
_HEARD_BYTES: Final = 3 * 4
# of one weight: the sum is divided by, and the mean pruned
_PRUNED_BYTES: Final = 2 * 4 + 3 * 4


class FedDSTOptions(FedAvgOptions):
    """How sparse, and how the mask moves.

    Attributes:
        sparsity: S, share of the weights of all layers that are pruned, at all times.
        ratio: alpha, share of the kept weights that the first readjustment drops.
        readjust_every: rounds between two readjustments; the first is in the second round, as in
            the public code.
        horizon: rounds until the ratio is 0, along a cosine; half of all rounds in the public code.
            Left out, the ratio stays.
        anneal: the ratio is alpha / 2 (1 + cos) as in the ``paper``, or that times alpha, as the
            ``public_code`` has it.
        layers: sparsities by ``erk`` densities, or by the rule that the ``public_code`` has under
            that name.
    """

    spans_rounds: ClassVar[tuple[str, ...]] = ("horizon",)
    examples: ClassVar[Examples] = (
        {"sparsity": 0.8, "readjust_every": 2, "ratio": 0.3, "horizon": 5},
        {"sparsity": 0.5, "readjust_every": 2, "anneal": "public_code", "layers": "public_code"},
    )

    sparsity: Share
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    readjust_every: Positive = 10
    horizon: Positive | None = None
    anneal: Literal["paper", "public_code"] = "paper"
    layers: Literal["erk", "public_code"] = "erk"


def _train_work(algorithm: FedDST, state: Manifest, turn: Turn) -> Workload:
    work = AveragedSGD.work["train"](algorithm, state, turn)
    if not algorithm.is_due(turn.index):
        return work
    return replace(work, moved_bytes=work.moved_bytes + _READJUSTED_BYTES * algorithm.weights)


def _merging(verb: str) -> WorkRule:
    """The rule for a mean, which is more where masks come with what is averaged."""

    def rule(
        algorithm: FedDST, state: Manifest, received: tuple[Received[Manifest], ...]
    ) -> Workload:
        work = AveragedSGD.work[verb](algorithm, state, received)
        if not any(map(_are_new, received)):
            return work
        each = _HEARD_BYTES * len(received) + _PRUNED_BYTES
        return replace(work, moved_bytes=work.moved_bytes + each * algorithm.weights)

    return rule


def _are_new(received: Received[Manifest]) -> bool:
    """Whether masks came with an update."""
    return any(t.pruned and not t.known for t in received.payload.tensors)


def _train_counts(algorithm: FedDST, state: Manifest, turn: Turn) -> Manifest:
    return unknown(state) if algorithm.is_due(turn.index) else state


def _aggregate_counts(
    algorithm: FedDST, state: Manifest, received: tuple[Received[Manifest], ...]
) -> Manifest:
    if any(map(_are_new, received)):
        return unknown(state)
    return AveragedSGD.counts["aggregate"](algorithm, state, received) or state


def _mix_counts(_: FedDST, state: Manifest, _received: tuple[Received[Manifest], ...]) -> Manifest:
    return unknown(state)


@lru_cache(maxsize=1024)
def unknown(manifest: Manifest) -> Manifest:
    """The counts under as large masks, which nobody else has yet."""
    return replace(manifest, tensors=tuple(replace(t, known=False) for t in manifest.tensors))


@ALGORITHMS.register("feddst", options=FedDSTOptions)
class FedDST(AveragedSGD[FedDSTOptions]):
    """Masks of one size that move at the clients, and meet at the server."""

    work: ClassVar[Mapping[str, WorkRule]] = {
        **AveragedSGD.work,
        "train": _train_work,
        "aggregate": _merging("aggregate"),
        "mix": _merging("mix"),
    }
    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": _train_counts,
        "aggregate": _aggregate_counts,
        "mix": _mix_counts,
    }

    def __init__(self, options: FedDSTOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        shapes = problem.layout.shape_of
        self._shapes = {n.weight: shapes[n.weight] for n in problem.architecture.layers}
        self._kept = self._kept_at(options.sparsity)

    @property
    def weights(self) -> int:
        """Entries of the layers that have masks."""
        return sum(prod(shape) for shape in self._shapes.values())

    def initial(self) -> ModelState:
        """Of the weights as initialised, the largest of each layer; the public code does so."""
        return self._pruned(super().initial())

    def ratio_in(self, t: int) -> float:
        """a_t of round t, from 0: the share of kept weights that a readjustment drops."""
        options = self.options
        if options.horizon is None:
            return options.ratio
        ratio = cosine(t, options.horizon, options.ratio)
        return ratio * options.ratio if options.anneal == "public_code" else ratio

    def is_due(self, round: int) -> bool:
        """Whether masks are readjusted in a round, from 1."""
        t = round - 1
        return (t - 1) % self.options.readjust_every == 0 and self.ratio_in(t) > 0

    def rule(self, turn: Turn) -> Rule:
        """The gradient of the data's loss tells where to grow; terms beside it do not."""
        rule = super().rule(turn)
        return replace(rule, watch="last_step") if self.is_due(turn.index) else rule

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """After the last epoch: prune further, and grow back; what grows is 0."""
        ended = super().end(state, turn, trained)
        if not self.is_due(turn.index):
            return ended
        assert trained.gradient is not None
        sparsity = self.options.sparsity
        fewer = self._kept_at(sparsity + (1 - sparsity) * self.ratio_in(turn.index - 1))
        layout, masks = ended.tensors.layout, ended.masks
        assert masks is not None
        left, grown = {}, {}
        for name, kept in self._kept.items():
            weight, gradient = ended.tensors[name], trained.gradient[layout.places[name]]
            goal = min(fewer[name], kept)
            left[name] = keep_largest(masks.views[name], weight.abs(), goal)
            grown[name] = grow_largest(left[name], gradient.abs().view_as(weight), kept)
        # what went and came back is new, too
        tensors = applied(ended.tensors, over(layout, left))
        return replace(ended, tensors=tensors).under(over(layout, grown))

    def aggregate(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """The mean; where masks came with it, of each weight over those who have it, pruned."""
        if all(r.payload.known for r in received):
            return super().aggregate(state, received)
        return self._merged(state, [], received)

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """As the server does, with a peer's own; peers' masks differ from the first change on."""
        own = Payload(state.tensors, state.masks)
        return self._merged(state, [(own, state.samples)], received)

    def forecast(self) -> Manifest:
        """Under the first mask, by counting."""
        tensors = super().forecast().tensors
        kept = {t.name: self._kept.get(t.name, t.size) for t in tensors}
        return Manifest(tensors=tuple(replace(t, nonzero=kept[t.name]) for t in tensors))

    def _merged(
        self,
        state: ModelState,
        own: list[tuple[Payload, int]],
        received: tuple[Received[Payload], ...],
    ) -> ModelState:
        """Each weight's mean over those who have it; the largest, as many as a mask has."""
        every = [*own, *((r.payload, r.sender.samples) for r in received)]
        masks = [payload.masks.flat for payload, _ in every if payload.masks is not None]
        mean = masked_mean(
            [payload.tensors.flat for payload, _ in every],
            masks,
            self.weights_of([samples for _, samples in every]),
        )
        layout = state.tensors.layout
        merged = replace(state, tensors=NamedTensors(layout, mean), rounds=state.rounds + 1)
        return self._pruned(merged, Masks(layout, torch.stack(masks).amax(0)))

    def _pruned(self, state: ModelState, among: Masks | None = None) -> ModelState:
        """Under a mask of the largest weights of each layer, among some or all."""
        layout = state.tensors.layout
        masks = among or full(layout, state.tensors.flat.device)
        views = {
            name: keep_largest(masks.views[name], state.tensors[name].abs(), kept)
            for name, kept in self._kept.items()
        }
        return state.under(over(layout, views))

    def _kept_at(self, sparsity: float) -> dict[str, int]:
        """Weights that each layer keeps when all together have a sparsity."""
        shapes = self._shapes
        if self.options.layers == "erk":
            densities = erk_densities(shapes, 1 - sparsity)
            return {name: int(densities[name] * prod(shape)) for name, shape in shapes.items()}
        biases = {name: f"{name.removesuffix('weight')}bias" for name in shapes}
        held = dict(zip(self.problem.layout.names, self.problem.layout.sizes, strict=True))
        return public_erk_kept(shapes, 1 - sparsity, {n: held.get(b, 0) for n, b in biases.items()})
