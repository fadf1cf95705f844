"""Steps linear in the stored weights of each layer, with coefficients measured for a model.

Source: Jiang et al., the PruneFL code's ``configs/``: seconds of one step = constant + sum over
layers of coefficient x stored weights.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from simfl.cost.figures import Doubtful, Time
from simfl.errors import CostError, did_you_mean
from simfl.options import Duration, Options, Positive
from simfl.work import Kind, Passes, Workload


class Coefficients(Doubtful):
    """Seconds of a stored weight and step, layer by layer."""

    values: Annotated[list[Duration], Field(min_length=1)]


class NnzModel(Options):
    """One model's figures.

    Attributes:
        batch: samples of the steps that were measured.
        weights: entries of each layer's dense weight.
        constant: what a step takes besides its stored weights.
        dense_step: a step of the dense model, in dense kernels.
    """

    batch: Positive
    weights: list[Positive]
    constant: Time
    coefficients: Coefficients
    dense_step: Time | None = None

    @model_validator(mode="after")
    def _one_each(self) -> NnzModel:
        if len(self.weights) != len(self.coefficients.values):
            raise PydanticCustomError(
                "lengths",
                f"{len(self.coefficients.values)} coefficients for {len(self.weights)} weights; "
                "give one for each layer",
            )
        return self

    def step_s(self, work: Workload) -> float:
        """Seconds of one of a workload's steps.

        Raises:
            CostError: other layers or batches than were measured.
        """
        layers = [n for n in work.layers if n.weights and n.kind is not Kind.NORM]
        if [layer.weights for layer in layers] != self.weights:
            raise CostError(
                f"has figures for another {work.model}: weights of {self.weights}, and here are "
                f"{[layer.weights for layer in layers]}"
            )
        if work.samples > work.steps * self.batch:
            raise CostError(
                f"has figures for batches of {self.batch}; set learning.local.batch_size"
            )
        if self.dense_step is not None and not any(n.storage.sparse for n in layers):
            return self.dense_step.value
        pairs = zip(layers, self.coefficients.values, strict=True)
        return self.constant.value + sum(layer.nonzero * c for layer, c in pairs)


class LinearNnz(Options):
    """Models by name."""

    kind: Literal["linear_nnz"]
    models: dict[str, NnzModel]

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's steps; a short last batch counts as a whole one.

        Raises:
            CostError: a model, batch or pass that was not measured.
        """
        if not work.steps:
            return 0.0
        if work.passes is not Passes.TRAIN:
            raise CostError("has figures for training only; take another device")
        if work.model not in self.models:
            mend = did_you_mean(work.model, self.models)
            raise CostError(f"has no figures for the model {work.model}; {mend}")
        return work.steps * self.models[work.model].step_s(work)
