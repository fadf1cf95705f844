"""Client pruning: each client prunes what it has trained, and the server averages what arrives.

No mask outlives a round: the next one begins with a dense network that holds the mean, in which a
weight is zero where it was zero in all updates, and each client prunes anew.

Source: Jeurkar et al. 2024 (pruning in Flower), section 3 and its public notebooks; the ways to
prune are torch.nn.utils.prune's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from simfl.algorithms.base import CountRule, unforetold
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.learning.problem import Problem
from simfl.learning.sgd import Trained, Training
from simfl.learning.state import ModelState, Turn
from simfl.options import Share
from simfl.pruning.masks import applied, over, support
from simfl.pruning.scope import MaskViews, Weights, rows_of_each, smallest_of_all, smallest_of_each
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks, NamedTensors
from simfl.work import Kind, Storage

_WAYS: Mapping[str, Callable[[Weights, float], MaskViews]] = {
    "gup": smallest_of_all,
    "lup": smallest_of_each,
    "lsp": rows_of_each,
}


class ClientPruningOptions(FedAvgOptions):
    """How a client prunes.

    Attributes:
        method: ``gup``, the smallest weights and biases of the model; ``lup``, the smallest weights
            of each layer; ``lsp``, the filters and neurons of each layer whose L1 norm is smallest.
        rate: share that goes.
        spare_classifier: leave the last layer alone. Of a classifier ``lsp`` removes rows, that is,
            whole classes.
    """

    examples: ClassVar[Examples] = (
        {"method": "gup", "rate": 0.5},
        {"method": "lup", "rate": 0.3, "spare_classifier": True},
        {"method": "lsp", "rate": 0.4},
    )

    method: Literal["gup", "lup", "lsp"]
    rate: Share
    spare_classifier: bool = False


@ALGORITHMS.register("client_pruning", options=ClientPruningOptions)
class ClientPruning(AveragedSGD[ClientPruningOptions]):
    """Train densely, prune, send what is not zero; average."""

    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": unforetold,
        "aggregate": unforetold,
        "mix": unforetold,
    }

    def __init__(self, options: ClientPruningOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        layers = [
            layer
            for layer in problem.architecture.layers
            if not (layer.output and options.spare_classifier)
        ]
        names: list[str] = []
        for layer in layers:
            bias = f"{layer.weight.removesuffix('weight')}bias"
            with_bias = options.method == "gup" and bias in problem.layout.names
            names += [layer.weight, bias] if with_bias else [layer.weight]
        self._pruned = tuple(names)

    def begin(self, state: ModelState, turn: Turn) -> Training:
        """All weights are trained."""
        return replace(super().begin(state, turn), masks=None)

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """Prune what was trained; what is zero is not sent."""
        pruned = applied(trained.tensors, self.masks_of(trained.tensors))
        return self._sparse(replace(state, tensors=pruned))

    def masks_of(self, tensors: NamedTensors) -> Masks:
        """What the method leaves of a model."""
        weights = {name: tensors[name] for name in self._pruned}
        return over(tensors.layout, _WAYS[self.options.method](weights, self.options.rate))

    def settle(self, mean: ModelState) -> ModelState:
        """Zero is what was zero in all updates."""
        return self._sparse(mean)

    def storage(self, kind: Kind, *, pruned: bool) -> Storage:
        """No mask is at work while a client trains."""
        return Storage.DENSE

    def _sparse(self, state: ModelState) -> ModelState:
        return state.under(support(state.tensors, self._pruned))
