"""LotteryFL: each client prunes and rewinds for itself, and is sent the part under its own mask.

A client tries the server's weights under its mask on some of its samples. Where they do well, and
it is still denser than the target, it drops the smallest weights of each layer and goes back to the
initial values of the rest. It trains what it has, and sends it; the server averages each weight
over the clients that have it.

Source: Li et al. 2021, Algorithm 1; what it leaves out, from its public code.

Departs from the public code: a client tries the weights on samples that it trains on, since clients
here hold no others; there on its own test images. It drops int(rate x n) of n kept weights, where
the code drops what is below a percentile, at most one more; of convolutions and fully connected
layers only, not of batch normalisation. The initial weights are drawn by everybody from the
scenario's seed, and do not travel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor

from simfl.algorithms.base import CountRule, WorkRule, unforetold
from simfl.algorithms.fedavg import (
    AveragedSGD,
    Examples,
    FedAvgOptions,
    as_received,
    as_sent,
    train_work,
)
from simfl.errors import ProtocolError
from simfl.keys import seed_of
from simfl.learning.averaging import masked_mean
from simfl.learning.evaluate import evaluate, share_right
from simfl.learning.problem import ClientData, Problem
from simfl.learning.state import ModelState, Payload, Received, Score, Turn
from simfl.options import Positive, Share
from simfl.pruning.masks import applied, drop_smallest, from_bits, full, over, to_bits
from simfl.pruning.scores import magnitude
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks, NamedTensors
from simfl.work import Manifest, Participant, Workload

# weight, mask and score read, mask and weight written: assumed
_PRUNING_BYTES: Final = 20


class LotteryFLOptions(FedAvgOptions):
    """When a client prunes, how much, and what is evaluated; the README's settings for MNIST.

    Attributes:
        rate: share of each layer's kept weights that goes at a time.
        target: share of the weights at which a client prunes no further; it may end below.
        threshold: accuracy that the weights must surpass on the client's samples.
        tried: samples of the client, drawn for each turn, on which that is seen.
        evaluate: the server's weights on the test set (``global``); or, as the ``personal`` ones of
            each client that took part, what is under its last mask, on the test samples of those
            classes of which it holds training samples: the mean over clients, each counting alike.
            Before the first round it is the initial model on the test set. The paper reports the
            mean of the best that each client ever had, which is more.
        evaluated: clients at most whose weights are evaluated, drawn once for all rounds.
    """

    examples: ClassVar[Examples] = (
        {"threshold": 0.0, "target": 0.5},
        {"threshold": 0.3, "evaluate": "global", "tried": 6},
        {"threshold": 0.3, "evaluated": 2, "average": "samples"},
    )

    average: Literal["samples", "uniform"] = "uniform"
    rate: Share = 0.2
    target: Share = 0.1
    threshold: Share = 0.2
    tried: Positive = 80
    evaluate: Literal["personal", "global"] = "personal"
    # assumed: the public code looks at all clients, or 500 of them
    evaluated: Positive = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class LotteryState(ModelState):
    """A model, and who holds which part of it.

    Attributes:
        left: of a client, p_i: the share of the weights that its prunings have left.
        held: of the server, by client the last mask that it sent, as bits; None for all weights.
    """

    left: float = 1.0
    held: Mapping[int, Tensor | None] = field(default_factory=dict)


def _train_work(algorithm: LotteryFL, state: Manifest, turn: Turn) -> Workload:
    """What arrived is tried, and may be pruned: that is charged whether it is or not.

    A client that prunes in this turn is charged with what it held before.
    """
    work = train_work(algorithm, state, turn)
    held = algorithm.problem.participants[turn.client].samples
    return replace(
        work,
        tested=min(algorithm.options.tried, held),
        moved_bytes=work.moved_bytes + _PRUNING_BYTES * state.size,
    )


def _share_counts(
    algorithm: LotteryFL, state: Manifest, to: Participant | None = None
) -> Manifest | None:
    """What is under a client's mask, the server's state tells by value only."""
    return as_sent(algorithm, state) if to is None else None


def _adopt_counts(
    algorithm: LotteryFL, state: Manifest | None, received: Received[Manifest]
) -> Manifest:
    sent = as_received(algorithm, None, received)
    if state is None or _same(state, sent):
        return sent
    return replace(state, tensors=tuple(replace(t, known=False) for t in state.tensors))


def _same(state: Manifest, sent: Manifest) -> bool:
    """Masks only ever shrink: those of as many entries are the same."""
    return [t.nonzero for t in state.tensors] == [t.nonzero for t in sent.tensors]


@ALGORITHMS.register("lotteryfl", options=LotteryFLOptions)
class LotteryFL(AveragedSGD[LotteryFLOptions]):
    """A lottery ticket for each client."""

    keeps_client_state: ClassVar[bool] = True
    addresses: ClassVar[bool] = True
    work: ClassVar[Mapping[str, WorkRule]] = {**AveragedSGD.work, "train": _train_work}
    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": unforetold,
        "share": _share_counts,
        "adopt": _adopt_counts,
    }

    def __init__(self, options: LotteryFLOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        self._pruned = tuple(layer.weight for layer in problem.architecture.layers)

    @property
    def relays(self) -> bool:
        """The server keeps each client's mask."""
        return False

    def initial(self) -> LotteryState:
        """All weights; nobody has a mask."""
        return LotteryState(tensors=self._first)

    def share(self, state: ModelState, to: Participant | None = None) -> Payload:
        """The part under the client's mask; all of it to one that has never sent any, and up."""
        bits = state.held.get(to.index) if to and isinstance(state, LotteryState) else None
        if bits is None:
            return super().share(state)
        masks = self._masks(bits)
        return self.sent(Payload(applied(state.tensors, masks), masks, known=True))

    def adopt(self, state: ModelState | None, received: Received[Payload]) -> LotteryState:
        """The weights sent, under the client's own mask, which the server may not have yet."""
        sent = super().adopt(None, received)
        if not isinstance(state, LotteryState):
            return LotteryState(tensors=sent.tensors, masks=sent.masks, known=sent.known)
        if _same(state.manifest(), sent.manifest()):
            return replace(state, tensors=sent.tensors, masks=sent.masks, known=sent.known)
        assert state.masks is not None
        return replace(state, tensors=applied(sent.tensors, state.masks), known=False)

    def train_all(self, turns: Sequence[tuple[ModelState, Turn]]) -> list[ModelState]:
        """Try, prune and rewind each, then train side by side."""
        return super().train_all([(self.ticket(state, turn), turn) for state, turn in turns])

    def ticket(self, state: ModelState, turn: Turn) -> LotteryState:
        """What a client trains: what arrived, or the initial values of what pruning leaves."""
        assert isinstance(state, LotteryState)
        options = self.options
        if state.left <= options.target or self._accuracy(state, turn) <= options.threshold:
            return state
        masks = state.masks or full(state.tensors.layout, state.tensors.flat.device)
        views = {
            name: drop_smallest(masks.views[name], magnitude(state.tensors[name]), options.rate)
            for name in self._pruned
        }
        first = replace(state, tensors=self._first, left=state.left * (1 - options.rate))
        return first.under(over(masks.layout, views))

    def aggregate(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """Each weight's mean over the clients that have it; one that nobody has stays."""
        assert isinstance(state, LotteryState)
        every = full(state.tensors.layout, state.tensors.flat.device)
        mean = masked_mean(
            [r.payload.tensors.flat for r in received],
            [(r.payload.masks or every).flat for r in received],
            self.weights_of([r.sender.samples for r in received]),
            state.tensors.flat,
        )
        sent = {r.sender.index: r.payload.masks for r in received}
        bits = {client: None if masks is None else to_bits(masks) for client, masks in sent.items()}
        return replace(
            state,
            tensors=NamedTensors(state.tensors.layout, mean),
            rounds=state.rounds + 1,
            held={**state.held, **bits},
        )

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """Not without a server.

        Raises:
            ProtocolError: the clients' masks are the server's to keep.
        """
        raise ProtocolError(
            "lotteryfl has a server that keeps each client's mask, and here are peers; take the "
            "protocol synchronous"
        )

    def score(self, state: ModelState) -> Score:
        """Of the clients' own weights, or of the server's; see the options."""
        assert isinstance(state, LotteryState)
        if self.options.evaluate == "global":
            return super().score(state)
        pairs = [(client, self._test_of(client)) for client in self._evaluated(state)]
        found = [
            evaluate(self.problem, self.personal(state, client), data)
            for client, data in pairs
            if len(data)
        ]
        if not found:
            return super().score(state)
        return Score(accuracy=fmean(s.accuracy for s in found), loss=fmean(s.loss for s in found))

    def personal(self, state: LotteryState, client: int) -> ModelState:
        """The server's weights under a client's last mask."""
        bits = state.held.get(client)
        return state if bits is None else state.under(self._masks(bits))

    def _evaluated(self, state: LotteryState) -> list[int]:
        """Clients that took part, the first few in an order that is drawn once."""
        generator = torch.Generator().manual_seed(seed_of(self.problem.seed, "evaluated clients"))
        order: list[int] = torch.randperm(self.problem.clients, generator=generator).tolist()
        return [client for client in order if client in state.held][: self.options.evaluated]

    def _test_of(self, client: int) -> ClientData:
        """The test samples of the classes that a client holds."""
        counts, test = self.problem.held.classes, self.problem.test
        assert counts is not None
        labels = self.problem.dataset.test_labels
        held = torch.isin(labels, torch.tensor([int(one) for one in counts[client]]))
        held = held.to(test.inputs.device)
        return ClientData(test.inputs[held], test.targets[held])

    def _accuracy(self, state: ModelState, turn: Turn) -> float:
        """The share of some of the client's samples that a model classifies right."""
        data = self.problem.data_of(turn.client)
        seed = seed_of(self.problem.seed, "tried", turn.client, turn.index)
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        some = order[: self.options.tried]
        return share_right(self.problem, state, ClientData(data.inputs[some], data.targets[some]))

    @cached_property
    def _first(self) -> NamedTensors:
        """The initial weights, to which every ticket goes back."""
        return self.problem.initial_tensors()

    def _masks(self, bits: Tensor) -> Masks:
        return from_bits(self.problem.layout, bits, self.problem.device)
