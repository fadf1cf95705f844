"""DFL-Trim: peers train under their masks, send pruned models, mix them, and prune again.

A peer's own part of the mean is what it trained, before the new mask: only what is sent is pruned
by it. All begin with one model, which some peer may have trained densely before. The paper's I
iterations of R rounds are I x R rounds of the protocol: in Algorithm 1 nothing happens between two
iterations.

Source: Pinto et al. 2025, Algorithm 1. There is no public code.

Departs from the paper: its text has neighbours "send back" what they averaged, its algorithm does
not; it is the algorithm that is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from simfl.algorithms.base import CountRule, WorkRule, unforetold
from simfl.algorithms.client_pruning import ClientPruning, ClientPruningOptions
from simfl.algorithms.fedavg import AveragedSGD, Examples
from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.learning.sgd import Trained, Training, epoch_batches, train
from simfl.learning.state import ModelState, Payload, Turn
from simfl.options import Positive
from simfl.pruning.masks import applied
from simfl.registry import ALGORITHMS
from simfl.work import Kind, Manifest, Participant, Storage, Workload


class DFLTrimOptions(ClientPruningOptions):
    """How models are pruned, and what they were before.

    Attributes:
        average: a peer's own model and each neighbour's count alike (line 15).
        pretrain_epochs: of the dense model that all begin with; each peer is charged for them, as
            if it had trained it for itself.
        pretrain_samples: for that, drawn from those that no client holds: of ``transformed_copies``
            the ``server_share``.
    """

    examples: ClassVar[Examples] = (
        {"method": "gup", "rate": 0.4},
        {"method": "lup", "rate": 0.5, "spare_classifier": True, "average": "samples"},
        {"method": "lsp", "rate": 0.4},
    )

    average: Literal["samples", "uniform"] = "uniform"
    pretrain_epochs: Annotated[int, Field(ge=0)] = 0
    pretrain_samples: Positive = 1000


def _initial_work(algorithm: DFLTrim) -> Workload:
    options, local = algorithm.options, algorithm.problem.local
    epochs, samples = options.pretrain_epochs, options.pretrain_samples
    if not epochs:
        return Workload()
    steps = epochs * local.steps_per_epoch(samples)
    return algorithm.training(algorithm.forecast(), steps=steps, samples=epochs * samples)


@ALGORITHMS.register("dfl_trim", options=DFLTrimOptions)
class DFLTrim(ClientPruning):
    """Train, prune what is sent, mix, prune."""

    options: DFLTrimOptions
    work: ClassVar[Mapping[str, WorkRule]] = {**AveragedSGD.work, "initial": _initial_work}
    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "share": unforetold,
        "aggregate": unforetold,
        "mix": unforetold,
    }

    def initial(self) -> ModelState:
        """Line 3: W_0, trained densely where that is asked for."""
        state, problem, options = super().initial(), self.problem, self.options
        if not options.pretrain_epochs:
            return state
        data = problem.samples(self._left_over())
        start = Training(
            tensors=state.tensors,
            masks=None,
            data=data,
            batches=epoch_batches(len(data), problem.local.batch_size, options.pretrain_epochs),
            seed=seed_of(problem.seed, "pretraining"),
        )
        [done] = train(problem.network, problem.local, [start])
        return replace(state, tensors=done.tensors)

    def begin(self, state: ModelState, turn: Turn) -> Training:
        """Lines 7 and 8: under the mask."""
        return AveragedSGD.begin(self, state, turn)

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """What a peer keeps is not pruned by the new mask."""
        return replace(state, tensors=trained.tensors)

    def share(self, state: ModelState, to: Participant | None = None) -> Payload:
        """Lines 9 to 11: pruned."""
        masks = self.masks_of(state.tensors)
        return self.sent(Payload(applied(state.tensors, masks), masks))

    def settle(self, mean: ModelState) -> ModelState:
        """Lines 16 and 17."""
        return mean.under(self.masks_of(mean.tensors))

    def storage(self, kind: Kind, *, pruned: bool) -> Storage:
        """A mask is at work while a peer trains."""
        return AveragedSGD.storage(self, kind, pruned=pruned)

    def forecast(self) -> Manifest:
        """Dense."""
        return AveragedSGD.forecast(self)

    def _left_over(self) -> torch.Tensor:
        """Samples for the pre-training, in their order in the data."""
        problem, wanted = self.problem, self.options.pretrain_samples
        free = torch.ones(problem.dataset.train_samples, dtype=torch.bool)
        for share in problem.shares:
            free[share.samples] = False
        left = free.nonzero()[:, 0]
        if len(left) < wanted:
            raise OptionError(
                "pretrain_samples",
                f"{wanted} of the {len(left)} samples that no client holds; give fewer, or a "
                "partition that leaves more",
            )
        generator = torch.Generator().manual_seed(seed_of(problem.seed, "pretraining samples"))
        return left[torch.randperm(len(left), generator=generator)[:wanted]].sort()[0]
