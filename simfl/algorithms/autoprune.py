"""Automatic structured pruning: the server cuts filters whose size is unlike that of the others.

Stage 1 searches for the architecture: after each round, of every convolution those filters go whose
sum of magnitudes lies further than k standard deviations from the layer's mean. They are cut out of
the network, with what reads them: what travels, trains and is deployed is a smaller dense network.
Stage 2, once nothing went for some rounds, is FedAvg.

Source: Nguyen et al. 2025, Algorithm 1 and section 3.2; numbers that the text leaves out are from
the public code.

Departs from the public code: there, Adam's moments go from client to client within a round, since
all train one compiled model; here each client begins its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from simfl.algorithms.base import CountRule, unforetold
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.errors import ProtocolError
from simfl.learning.state import ModelState, Payload, Received
from simfl.options import Positive
from simfl.pruning.surgery import cut
from simfl.registry import ALGORITHMS


class AutoPruneOptions(FedAvgOptions):
    """How filters are chosen, and when the search ends.

    Attributes:
        k: standard deviations from the mean within which filters stay; the public code has 2.0 to
            2.5, the paper's ablation 2.0, 2.5 and 3.0.
        weights: the remaining filters ``keep`` theirs (Algorithm 1); or the smaller network is
            drawn anew (``reinit``), as in the public code.
        streams: channels that an addition makes one, those of residual blocks, are ``pruned`` by
            the first convolution that makes them (the stem in the public code), or stay ``whole``
            (section 3.1).
        patience: c, rounds without a cut after which the search ends.
        search_rounds: the most that it takes; the public code has 50 to 100.
    """

    spans_rounds: ClassVar[tuple[str, ...]] = ("search_rounds",)
    needs_filters: ClassVar[bool] = True
    examples: ClassVar[Examples] = (
        {"k": 1.0, "patience": 2},
        {"k": 0.5, "weights": "reinit", "streams": "whole", "search_rounds": 2},
    )

    k: Annotated[float, Field(gt=0)] = 2.2
    weights: Literal["keep", "reinit"] = "keep"
    streams: Literal["pruned", "whole"] = "pruned"
    patience: Positive = 3
    search_rounds: Positive = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class AutoPruneState(ModelState):
    """A model, and where the search stands.

    Attributes:
        idle: rounds since filters were cut.
        found: whether the search has ended.
    """

    idle: int = 0
    found: bool = False


@ALGORITHMS.register("autoprune", options=AutoPruneOptions)
class AutoPrune(AveragedSGD[AutoPruneOptions]):
    """Cut at the server until nothing goes any more, then train what is left."""

    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "aggregate": unforetold,
        "mix": unforetold,
    }

    @property
    def relays(self) -> bool:
        """Aggregators would cut different filters."""
        return False

    def initial(self) -> AutoPruneState:
        """Dense."""
        return AutoPruneState(tensors=super().initial().tensors)

    def aggregate(
        self, state: ModelState, received: tuple[Received[Payload], ...]
    ) -> AutoPruneState:
        """The mean of the updates; while it is searched, without the filters that go."""
        mean = super().aggregate(state, received)
        assert isinstance(mean, AutoPruneState)
        return mean if mean.found else self._searched(mean)

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """Not without a server.

        Raises:
            ProtocolError: peers would cut different filters, and could not average any more.
        """
        raise ProtocolError("autoprune prunes at a server, and peers have none; take synchronous")

    def _searched(self, mean: AutoPruneState) -> AutoPruneState:
        options = self.options
        kept = self._kept(mean)
        idle = 0 if kept else mean.idle + 1
        found = idle >= options.patience or mean.rounds >= options.search_rounds
        smaller = cut(mean.tensors, self.problem.channels, kept) if kept else mean.tensors
        if kept and options.weights == "reinit":
            smaller = self.problem.initial_tensors(smaller.layout, mean.rounds)
        return replace(mean, tensors=smaller, idle=idle, found=found)

    def _kept(self, state: ModelState) -> dict[int, Tensor]:
        """By group of channels, those that stay, where any goes."""
        kept = {}
        for group, maker in self._prunable.items():
            stay = within(state.tensors[maker].abs().flatten(1).sum(1), self.options.k)
            if not stay.all():
                kept[group] = stay.nonzero()[:, 0]
        return kept

    @cached_property
    def _prunable(self) -> dict[int, str]:
        """By group of channels, the convolution by whose filters it is judged."""
        convolutions = {x.weight for x in self.problem.architecture.layers if x.kind == "conv"}
        return {
            number: group.makers[0]
            for number, group in self.problem.channels.groups.items()
            if not group.whole
            and group.makers[0] in convolutions
            and (len(group.makers) == 1 or self.options.streams == "pruned")
        }


def within(sizes: Tensor, k: float) -> Tensor:
    """Which filters stay: those within k standard deviations of the mean; at least one.

    Args:
        sizes: of each filter, the sum of its magnitudes.
        k: how many.

    Source: Nguyen et al. 2025, Algorithm 1, lines 5 to 14; the deviation is the population's.

    >>> import torch
    >>> within(torch.tensor([1.0, 1.0, 1.0, 1.0, 9.0]), 1.5).tolist()
    [True, True, True, True, False]
    """
    off = (sizes - sizes.mean()).abs()
    stay = off <= k * sizes.std(correction=0)
    return stay if stay.any() else off == off.min()
