"""FedPM: weights are random and frozen; what is learnt is which of them to keep. Bits go up.

A client gets scores, trains them, and sends for each weight one bit, drawn with the probability
that its score gives. The mean of the bits is the server's next probability.

Source: Isik et al. 2023, Algorithms 1 and 2; numbers that the text leaves out, from the public
code, which trains by Adam at a rate of 0.1, whatever its settings say: say so in ``local``.

Departs from the public code: there the frozen weights go down with the scores each round; they
follow from a seed, as the paper has it, and stay where they are. Bits are sent as they are; an
entropy code would take less where the share of ones is far from a half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import e, prod, sqrt
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from simfl.algorithms.base import CountRule
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.errors import OptionError, ProtocolError
from simfl.keys import seed_of
from simfl.learning.problem import Problem
from simfl.learning.scores import BYTES_PER_WEIGHT, Scores, drawn
from simfl.learning.sgd import Rule, Trained
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks, NamedTensors
from simfl.work import BIT, Kind, Manifest, Participant, sent_as


class FedPMOptions(FedAvgOptions):
    """How scores are learnt, and what is deployed.

    Attributes:
        average: of bits, ``uniform`` is the paper's: the mode of a Beta posterior that is begun
            anew each round.
        clip: probabilities are kept as far from 0 and 1, so that scores are finite; the public
            code's.
        estimator: of the gradient by a probability: ``straight_through`` the draw, or that times
            the probability (``public_code``).
        deployed: weights ``drawn`` once by their probabilities, or those above one half
            (``likely``).
    """

    examples: ClassVar[Examples] = (
        {},
        {"average": "samples", "estimator": "public_code", "deployed": "likely", "clip": 0.1},
    )

    average: Literal["samples", "uniform"] = "uniform"
    clip: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    estimator: Literal["straight_through", "public_code"] = "straight_through"
    deployed: Literal["drawn", "likely"] = "drawn"


@dataclass(frozen=True, kw_only=True, eq=False)
class FedPMState(ModelState):
    """Scores; after a turn, the bits that were drawn by them.

    Attributes:
        bits: whether it is bits.
    """

    bits: bool = False

    def manifest(self) -> Manifest:
        """Its counts."""
        counted = super().manifest()
        return sent_as(counted, BIT) if self.bits else counted


def _train_counts(_: FedPM, state: Manifest, _turn: Turn) -> Manifest:
    return sent_as(state, BIT)


def _share_counts(algorithm: FedPM, state: Manifest) -> Manifest | None:
    if all(info.dtype == BIT for info in state.tensors):
        return state
    return AveragedSGD.counts["share"](algorithm, state)


def _vote_counts(
    _: FedPM, _now: Manifest, update: Manifest, _base: Manifest, _weight: float
) -> Manifest:
    return update


def _scores_counts(_: FedPM, state: Manifest, _received: object) -> Manifest:
    return Manifest(tensors=tuple(replace(t, dtype="float32") for t in state.tensors))


@ALGORITHMS.register("fedpm", options=FedPMOptions)
class FedPM(AveragedSGD[FedPMOptions]):
    """Scores go down, bits go up."""

    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "rebase": _vote_counts,
        "train": _train_counts,
        "share": _share_counts,
        "mix": _scores_counts,
    }

    def __init__(self, options: FedPMOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        architecture = problem.architecture
        if any(operation.kind is Kind.NORM for operation in architecture.operations):
            raise OptionError(
                "name",
                f"keeps weights as they were drawn, and {architecture.name} normalises; take a "
                "model without batch normalisation",
            )

    @property
    def relays(self) -> bool:
        """What a server shares are scores, and an update is bits."""
        return False

    def initial(self) -> FedPMState:
        """Scores from a normal distribution, as in the public code."""
        scores = torch.randn(self.problem.layout.size, generator=self._stream("scores"))
        return self._state(scores)

    def rule(self, turn: Turn) -> Rule:
        """What is trained are scores."""
        return replace(super().rule(turn), scores=self._scores)

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> FedPMState:
        """One draw of bits by the trained scores."""
        stream = self._stream("bits", turn.client, turn.index)
        bits = drawn(trained.tensors.flat, stream)
        return FedPMState(
            tensors=NamedTensors(state.tensors.layout, bits),
            rounds=state.rounds,
            samples=state.samples,
            bits=True,
        )

    def share(self, state: ModelState, to: Participant | None = None) -> Payload:
        """A server's scores, or the bits."""
        if _is_bits(state):
            return Payload(state.tensors, dtype=BIT)
        return super().share(state)

    def adopt(self, state: ModelState | None, received: Received[Payload]) -> FedPMState:
        """The server's scores replace the client's."""
        return self._state(received.payload.tensors.flat)

    def rebase(self, now: Payload, update: Payload, base: Payload, weight: float) -> Payload:
        """Bits are votes: an old one counts as it is."""
        return update

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """The scores of the mean of bits: a peer's own and its neighbours'.

        Raises:
            ProtocolError: somebody has not trained yet, and so has scores.
        """
        if not _is_bits(state) or any(r.payload.dtype != BIT for r in received):
            raise ProtocolError(
                "fedpm mixes the bits of peers that have trained, and here one mixes before; take "
                "the protocol neighborhood"
            )
        return super().mix(state, received)

    def settle(self, mean: ModelState) -> FedPMState:
        """Scores by the mean of the bits, each of which is clipped."""
        clip = self.options.clip
        p = clip + (1 - 2 * clip) * mean.tensors.flat
        assert isinstance(mean, FedPMState)
        return replace(
            mean, tensors=NamedTensors(mean.tensors.layout, (p / (1 - p)).log()), bits=False
        )

    def model(self, state: ModelState) -> ModelState:
        """The network of those weights that are there."""
        kept = state.tensors.flat
        if not _is_bits(state):
            likely = self.options.deployed == "likely"
            stream = self._stream("deployed", state.rounds)
            kept = (kept > 0).float() if likely else drawn(kept, stream)
        tensors = NamedTensors(state.tensors.layout, kept * self._frozen)
        return ModelState(tensors=tensors, masks=Masks(state.tensors.layout, kept))

    @property
    def bytes_per_weight(self) -> int:
        """Scores become weights in each step."""
        return super().bytes_per_weight + BYTES_PER_WEIGHT

    @cached_property
    def _scores(self) -> Scores:
        return Scores(self._frozen, damped=self.options.estimator == "public_code")

    @cached_property
    def _frozen(self) -> Tensor:
        """They are c or -c, c = e / sqrt(fan in), biases too. Source: the public code."""
        layout, device = self.problem.layout, self.problem.device
        fans = {n.rpartition(".")[0]: prod(s[1:]) for n, s in layout.shape_of.items() if len(s) > 1}
        sizes = (e / sqrt(fans[name.rpartition(".")[0]]) for name in layout.names)
        pairs = zip(sizes, layout.sizes, strict=True)
        largest = torch.cat([torch.full((size,), c) for c, size in pairs])
        signs = torch.randint(0, 2, (layout.size,), generator=self._stream("frozen"))
        return (largest * (2 * signs - 1)).to(device)

    def _state(self, scores: Tensor) -> FedPMState:
        tensors = NamedTensors(self.problem.layout, scores.to(self.problem.device))
        return FedPMState(tensors=tensors)

    def _stream(self, *coordinates: str | int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.problem.seed, *coordinates))


def _is_bits(state: ModelState) -> bool:
    return isinstance(state, FedPMState) and state.bits
