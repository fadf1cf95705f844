"""Adaptive PruneFL: keep the weights that reduce the loss most for each second that they cost.

The server prunes first, on a few samples that it holds; then every some rounds the clients send
how large their gradients were, also of pruned weights, and the server chooses anew.

Source: Jiang et al. 2022 (the journal version of PruneFL), Algorithms 1 and 2; its public code.
With ``target: schedule``, the variant in FedDIP's public code, which its paper reports as PruneFL:
it ranks by gradients alone and keeps as many weights as a schedule says.

What costs how much is a frozen argument, in the scenario and so in every key: a what-if on another
network keeps it as recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from simfl.algorithms.base import CountRule, WorkRule
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.errors import OptionError, ProtocolError
from simfl.learning.evaluate import share_right
from simfl.learning.problem import ClientData, Problem
from simfl.learning.sgd import Rule, Trained, Training, epoch_batches, train
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.options import Duration, Positive, Share
from simfl.pruning.importance import Layer, by_cost, largest
from simfl.pruning.masks import full, over
from simfl.pruning.schedules import cubic
from simfl.registry import ALGORITHMS
from simfl.tensors import Layout, Masks, NamedTensors
from simfl.work import Kind, Manifest, Participant, Storage, TensorInfo, Workload

_PREFIX = "importance."
_STABLE = 0.1
_TIMES = 5


class PruneFLAdaptiveOptions(FedAvgOptions):
    """Costs, how often, how much; defaults are the public code's for FEMNIST.

    Attributes:
        target: keep weights while gradient^2 per second is above that of the model (``ratio``), or
            so many as the ``schedule`` says.
        fixed: seconds of a round that do not depend on the weights.
        per_weight: seconds of a round for each stored weight, one per layer; left out, all cost
            the same, 5.56 us: 8 bytes there and back at 1.44 MB/s.
        importance: squares of a client's summed gradients of a ``turn``, times its samples, or of
            those of its ``last_step`` (FedDIP's code).
        reconfigure_every: rounds between two choices of weights.
        adjustable: share of a layer's weights that one choice may drop, the smallest.
        half_life: rounds in which that share halves.
        horizon: of a schedule.
        initial_sparsity: where a schedule begins.
        final_sparsity: where a schedule ends.
        matrices: a client holds what is left of them ``sparse``, as in the journal; or ``masked``,
            for devices that have no sparse kernels.
        server_samples: of the first client, that the server holds for the initial pruning.
        server_passes: over them, at most.
        server_every: passes between two choices; it ends early after five in a row that change the
            density by at most a tenth.
    """

    spans_rounds: ClassVar[tuple[str, ...]] = ("horizon", "half_life")
    examples: ClassVar[Examples] = (
        {"server_samples": 12, "server_passes": 9, "server_every": 1, "reconfigure_every": 2},
        {
            "target": "schedule",
            "horizon": 4,
            "importance": "last_step",
            "server_passes": 0,
            "reconfigure_every": 1,
            "matrices": "masked",
        },
    )

    target: Literal["ratio", "schedule"] = "ratio"
    fixed: Duration = 6.246
    per_weight: list[Duration] | None = None
    importance: Literal["turn", "last_step"] = "turn"
    reconfigure_every: Positive = 50
    adjustable: Share = 0.3
    half_life: Positive = 10_000
    horizon: Positive | None = None
    initial_sparsity: Share = 0.5
    final_sparsity: Share = 0.9
    matrices: Literal["sparse", "masked"] = "sparse"
    server_samples: Positive = 200
    server_passes: Annotated[int, Field(ge=0)] = 1000
    server_every: Positive = 50


_PER_WEIGHT_S = 5.561621e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptiveState(ModelState):
    """A model, and what its weights matter.

    Attributes:
        importance: of a client, summed since it was last sent; entries as of the parameters.
        due: whether it is sent with the next update.
        last: of a server, the last value of each entry, of pruned ones too.
    """

    importance: Tensor | None = None
    due: bool = False
    last: Tensor | None = None

    def manifest(self) -> Manifest:
        """Its counts, those of the importance that will be sent with it included."""
        counts = super().manifest()
        return with_importance(counts) if self.due else counts


def with_importance(counts: Manifest) -> Manifest:
    """Counts with a number more for each weight of a matrix or kernel."""
    more = (
        TensorInfo(name=_PREFIX + t.name, shape=t.shape, dtype=t.dtype, nonzero=t.size)
        for t in counts.tensors
        if len(t.shape) > 1
    )
    return Manifest(tensors=(*counts.tensors, *more))


def _train_counts(algorithm: PruneFLAdaptive, state: Manifest, turn: Turn) -> Manifest:
    return with_importance(state) if algorithm.is_due(turn.index) else state


def _aggregate_counts(
    algorithm: PruneFLAdaptive, state: Manifest, received: tuple[Received[Manifest], ...]
) -> Manifest | None:
    if any(len(r.payload.tensors) > len(state.tensors) for r in received):
        return None
    return AveragedSGD.counts["aggregate"](algorithm, state, received)


def _initial_work(algorithm: PruneFLAdaptive) -> Workload:
    """All passes, whether or not it would end early: how early is seen in the values only."""
    options, local = algorithm.options, algorithm.problem.local
    dense = algorithm.forecast()
    held = algorithm.server_samples
    work = algorithm.training(
        dense,
        steps=options.server_passes * local.steps_per_epoch(held),
        samples=options.server_passes * held,
        moved_bytes=16 * dense.size * options.server_passes * local.steps_per_epoch(held),
    )
    return replace(work, sessions=min(1, options.server_passes))


@ALGORITHMS.register("prunefl_adaptive", options=PruneFLAdaptiveOptions)
class PruneFLAdaptive(AveragedSGD[PruneFLAdaptiveOptions]):
    """Weights come and go by their importance for each second."""

    keeps_client_state: ClassVar[bool] = True
    work: ClassVar[Mapping[str, WorkRule]] = {**AveragedSGD.work, "initial": _initial_work}
    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": _train_counts,
        "aggregate": _aggregate_counts,
    }

    def __init__(self, options: PruneFLAdaptiveOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        layers = problem.architecture.layers
        costs = options.per_weight or [_PER_WEIGHT_S] * len(layers)
        if len(costs) != len(layers):
            names = ", ".join(layer.weight for layer in layers)
            raise OptionError(
                "per_weight",
                f"{len(costs)} given for the {len(layers)} layers of {problem.architecture.name}; "
                f"give one for each of {names}",
            )
        if options.target == "schedule" and options.horizon is None:
            raise OptionError("horizon", "the rounds over which sparsity grows; give them")
        self._costs = {layer.weight: cost for layer, cost in zip(layers, costs, strict=True)}

    @property
    def server_samples(self) -> int:
        """Samples at the server."""
        return min(self.options.server_samples, self.problem.participants[0].samples)

    def is_due(self, round: int) -> bool:
        """Whether importance is sent in a round, and weights are chosen at its end."""
        return round % self.options.reconfigure_every == 0

    def initial(self) -> AdaptiveState:
        """Algorithm 1, initial pruning at a server that holds some samples of the first client."""
        options, problem = self.options, self.problem
        tensors = super().initial().tensors
        data = self._held()
        state = AdaptiveState(tensors=tensors, last=tensors.flat)
        batches = epoch_batches(len(data), problem.local.batch_size, 1)
        importance = torch.zeros(problem.parameters, device=tensors.flat.device)
        first_pass: int | None = None
        densities: list[float] = []
        for number in range(1, options.server_passes + 1):
            tensors = state.tensors
            for batch in batches:
                # step by step: what counts is the square of each one's gradient
                start = Training(
                    tensors=tensors,
                    masks=state.masks,
                    data=data,
                    batches=[batch],
                    rule=Rule(watch="last_step"),
                )
                [done] = train(problem.network, replace(problem.local, gradients="fresh"), [start])
                assert done.gradient is not None
                tensors = done.tensors
                kept = 1.0 if state.masks is None else state.masks.flat[: len(importance)]
                # of what was pruned here nothing comes back
                importance += done.gradient.square() * kept
            state = replace(state, tensors=tensors, last=tensors.flat)
            if first_pass is None and share_right(problem, state, data) >= self._good:
                first_pass = number
            if first_pass is None or (number - first_pass) % options.server_every:
                continue
            state = self._chosen(state, importance, 0)
            importance = torch.zeros_like(importance)
            assert state.masks is not None
            densities.append(state.masks.manifest.nonzero)
            if _settled(densities):
                break
        return state

    @property
    def relays(self) -> bool:
        """Weights are chosen at the server, by what all clients have summed up."""
        return False

    def adopt(self, state: Any, received: Received[Payload]) -> AdaptiveState:
        """The server's model; what the client has summed up it keeps."""
        base = super().adopt(state, received)
        kept = state.importance if isinstance(state, AdaptiveState) and not state.due else None
        return AdaptiveState(
            tensors=base.tensors, masks=base.masks, known=base.known, importance=kept
        )

    def rule(self, turn: Turn) -> Rule:
        """Gradients are watched, those of pruned weights too."""
        return replace(super().rule(turn), watch=self.options.importance)

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """The client's sum of squares goes on."""
        assert trained.gradient is not None
        assert isinstance(state, AdaptiveState)
        square = trained.gradient.square()
        if self.options.importance == "turn":
            held = len(self.problem.data_of(turn.client))
            square *= self.problem.local.samples_in(held, turn.index)
            total = square if state.importance is None else state.importance + square
        else:
            total = square
        return replace(
            state, tensors=trained.tensors, importance=total, due=self.is_due(turn.index)
        )

    def share(self, state: ModelState, to: Participant | None = None) -> Payload:
        """The model, and when it is due the importance of every weight."""
        if not isinstance(state, AdaptiveState) or not state.due:
            return super().share(state)
        assert state.importance is not None
        layout = self.problem.layout
        wide = _with_importance(layout)
        parts = [state.importance[layout.places[name]] for name in layout.matrices]
        flat = torch.cat([state.tensors.flat, *parts])
        masks = state.masks or full(layout, flat.device)
        ones = flat.new_ones(wide.size - layout.size)
        every = Masks(wide, torch.cat([masks.flat, ones]))
        return self.sent(Payload(NamedTensors(wide, flat), every, known=state.known))

    def aggregate(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """The mean; what is pruned keeps its last value; when due, weights are chosen anew."""
        assert isinstance(state, AdaptiveState)
        layout = state.tensors.layout
        models = tuple(replace(r, payload=_model_of(r.payload, layout)) for r in received)
        mean = super().aggregate(state, models)
        assert isinstance(mean, AdaptiveState)
        assert state.last is not None
        last = mean.tensors.flat
        if state.masks is not None:
            last = torch.where(state.masks.flat.bool(), last, state.last)
        mean = replace(mean, last=last)
        sent = [r.payload.tensors for r in received if r.payload.tensors.layout != layout]
        if not sent:
            return mean
        total = torch.zeros(self.problem.parameters, device=last.device)
        for tensors in sent:
            for name in layout.matrices:
                total[layout.places[name]] += tensors[_PREFIX + name].reshape(-1)
        return self._chosen(mean, total, mean.rounds)

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """Not without a server.

        Raises:
            ProtocolError: weights are chosen at the server.
        """
        raise ProtocolError(
            "prunefl_adaptive chooses weights at a server, and here are peers; take prunefl with "
            "federated=false"
        )

    def storage(self, kind: Kind, *, pruned: bool) -> Storage:
        """As the journal's clients: pruned matrices are sparse, pruned convolutions masked."""
        if not pruned:
            return Storage.DENSE
        sparse = kind is Kind.LINEAR and self.options.matrices == "sparse"
        return Storage.COO if sparse else Storage.MASKED

    @property
    def bytes_per_weight(self) -> int:
        """Each step's gradient is added up."""
        return super().bytes_per_weight + 12

    @property
    def _good(self) -> float:
        """Accuracy on the server's samples from which on it prunes."""
        return 1.5 / self.problem.dataset.classes

    def _held(self) -> ClientData:
        data = self.problem.data_of(0)
        some = slice(0, self.server_samples)
        return ClientData(data.inputs[some], data.targets[some])

    def _chosen(self, state: AdaptiveState, importance: Tensor, round: int) -> AdaptiveState:
        """Weights chosen anew; who comes back has the value that it last had."""
        options = self.options
        assert state.last is not None
        layout = state.tensors.layout
        masks = state.masks or full(layout, importance.device)
        layers = {
            name: Layer(
                weight=state.tensors[name],
                mask=masks.views[name],
                importance=importance[layout.places[name]].view_as(state.tensors[name]),
                cost=cost,
            )
            for name, cost in self._costs.items()
        }
        if options.target == "schedule":
            assert options.horizon is not None
            first, last = options.initial_sparsity, options.final_sparsity
            views = largest(layers, 1 - cubic(round, options.horizon, first, last))
        else:
            share = options.adjustable * 0.5 ** (round / options.half_life)
            views = by_cost(layers, share, options.fixed)
        dense = NamedTensors(layout, state.last)
        return replace(state, tensors=dense).under(over(layout, views))


def _settled(densities: list[float]) -> bool:
    """Whether the last choices changed little, each compared with the one before."""
    pairs = list(pairwise(densities))[-_TIMES:]
    return len(pairs) == _TIMES and all(abs(b / a - 1) <= _STABLE for a, b in pairs)


def _with_importance(layout: Layout) -> Layout:
    names = tuple(_PREFIX + name for name in layout.matrices)
    shapes = tuple(layout.shape_of[name] for name in layout.matrices)
    return Layout((*layout.names, *names), (*layout.shapes, *shapes))


def _model_of(payload: Payload, layout: Layout) -> Payload:
    """The model in a payload, whatever else is in it."""
    if payload.tensors.layout == layout:
        return payload
    flat = payload.tensors.flat[: layout.size]
    masks = None if payload.masks is None else Masks(layout, payload.masks.flat[: layout.size])
    return Payload(NamedTensors(layout, flat), masks, known=payload.known)
