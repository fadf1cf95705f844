"""SNIP: prune once before training, by how much each connection matters to the loss.

Source: Lee et al. 2019, Algorithm 1; FedDIP's public code runs it before federated learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod, sqrt
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy, nll_loss

from simfl.algorithms.base import WorkRule
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.keys import seed_of
from simfl.learning.state import ModelState
from simfl.options import Positive, Share
from simfl.pruning.masks import over
from simfl.registry import ALGORITHMS
from simfl.tensors import NamedTensors
from simfl.work import Manifest, Workload


class SnipOptions(FedAvgOptions):
    """What is pruned, and what the probe is.

    Attributes:
        sparsity: share of the weights of all layers together that goes.
        samples: of the first client, in one batch at the server; left out, a batch of the local
            update.
        probe: the weights at which sensitivity is measured: drawn anew by ``xavier_normal`` (public
            code; variance scaling in the paper), or the ``initial`` ones that will be trained.
        loss: the public code takes the negative log-likelihood of the raw outputs
            (``nll_on_outputs``), the paper ``cross_entropy``.
    """

    examples: ClassVar[Examples] = (
        {"sparsity": 0.8},
        {"sparsity": 0.5, "probe": "initial", "loss": "nll_on_outputs", "samples": 7},
    )

    sparsity: Share
    samples: Positive | None = None
    probe: Literal["xavier_normal", "initial"] = "xavier_normal"
    loss: Literal["nll_on_outputs", "cross_entropy"] = "cross_entropy"


def _initial_work(algorithm: Snip) -> Workload:
    samples = algorithm.samples
    dense = AveragedSGD.forecast(algorithm)
    work = algorithm.training(dense, steps=1, samples=samples)
    return replace(work, batch=samples, sessions=1, moved_bytes=8 * dense.size)


@ALGORITHMS.register("snip", options=SnipOptions)
class Snip(AveragedSGD[SnipOptions]):
    """One mask before the first round; FedAvg under it."""

    work: ClassVar[Mapping[str, WorkRule]] = {**AveragedSGD.work, "initial": _initial_work}

    @property
    def samples(self) -> int:
        """Samples of the probe."""
        held = self.problem.participants[0].samples
        return min(self.options.samples or self.problem.local.batch_size, held)

    def initial(self) -> ModelState:
        """The model as initialised, without the connections that matter least."""
        state = super().initial()
        names = self._layers
        scores = self._sensitivity(state.tensors)
        flat = torch.cat([scores[name].reshape(-1) for name in names])
        kept = torch.zeros_like(flat)
        # the largest, ties by position: a threshold could keep more
        kept[flat.argsort(descending=True, stable=True)[: self._kept(len(flat))]] = 1
        views = kept.split([scores[name].numel() for name in names])
        masks = over(
            state.tensors.layout,
            {name: view.view_as(scores[name]) for name, view in zip(names, views, strict=True)},
        )
        return state.under(masks)

    def forecast(self) -> Manifest:
        """What is left in each layer only the probe tells, which is one batch.

        Raises:
            ReplayMiss: the data is not at hand.
        """
        return self.initial().manifest()

    @property
    def _layers(self) -> list[str]:
        return [layer.weight for layer in self.problem.architecture.layers]

    def _kept(self, weights: int) -> int:
        return int(weights * (1 - self.options.sparsity))

    def _sensitivity(self, tensors: NamedTensors) -> dict[str, Tensor]:
        """|dL/dc| at c = 1 for each connection w x c: |w dL/dw|."""
        problem, at = self.problem, dict(tensors)
        if self.options.probe == "xavier_normal":
            generator = torch.Generator().manual_seed(seed_of(problem.seed, "probe"))
            for name in self._layers:
                shape = tensors[name].shape
                window = prod(shape[2:])
                deviation = sqrt(2 / ((shape[0] + shape[1]) * window))
                drawn = torch.randn(shape, generator=generator) * deviation
                at[name] = drawn.to(tensors.flat.device)
        weights = {name: at[name].clone().requires_grad_() for name in self._layers}
        data = problem.data_of(0)
        inputs, targets = data.inputs[: self.samples], data.targets[: self.samples]
        classes = targets if targets.dim() == 1 else targets.argmax(1)
        module = problem.architecture.build().to(tensors.flat.device)
        outputs: Tensor = functional_call(module, {**at, **weights}, (inputs,))
        of = nll_loss if self.options.loss == "nll_on_outputs" else cross_entropy
        gradients = torch.autograd.grad(of(outputs, classes), list(weights.values()))
        pairs = zip(weights.items(), gradients, strict=True)
        return {name: (weight * gradient).detach().abs() for (name, weight), gradient in pairs}
