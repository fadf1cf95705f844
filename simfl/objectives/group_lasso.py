"""Group lasso over channels: c times the sum of ||w_g|| over input and output channels.

Source: Lym et al. 2019 (PruneTrain), eq. (2): whole channels go to zero, since each belongs to a
group of its own among the outputs of one layer and among the inputs of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from simfl.objectives.base import Point, Term
from simfl.options import Options
from simfl.registry import OBJECTIVES


class GroupLassoOptions(Options):
    """How much of it.

    Attributes:
        weight: c.
    """

    weight: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLasso:
    """The norms of channels.

    Attributes:
        inputs: tensors whose input channels are groups; the first layer's are pixels.
        outputs: tensors whose output channels are; the last layer's are classes.
    """

    bytes_per_weight: ClassVar[int] = 32  # as layer norms, for inputs and for outputs

    weight: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def add_to(self, gradient: Tensor, point: Point) -> None:
        """Add c w / ||w_g|| for both groups that a weight is in."""
        if not self.weight:
            return
        for names, channels in ((self.inputs, 1), (self.outputs, 0)):
            for name in names:
                groups, into = (grouped(stack, point, name) for stack in (point.at, gradient))
                others = (1, 3) if channels else (2, 3)
                length = torch.linalg.vector_norm(groups, dim=others, keepdim=True)
                into.addcmul_(groups, self.weight / length.clamp_min(_tiny(length)))

    def value(self, point: Point) -> Tensor:
        """The term itself, (models,)."""
        total = point.at.new_zeros(len(point.at))
        for names, channels in ((self.inputs, 1), (self.outputs, 0)):
            for name in names:
                others = (1, 3) if channels else (2, 3)
                groups = grouped(point.at, point, name)
                total += torch.linalg.vector_norm(groups, dim=others).sum(1)
        return self.weight * total


def grouped(stack: Tensor, point: Point, name: str) -> Tensor:
    """One tensor of a stack as a view (models, out, in, kernel positions)."""
    shape = point.layout.shape_of[name]
    groups: Tensor = stack[:, point.layout.places[name]].unflatten(1, (*shape[:2], prod(shape[2:])))
    return groups


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny


@OBJECTIVES.register("group_lasso", options=GroupLassoOptions)
def group_lasso(options: GroupLassoOptions) -> Term:
    """Over all channels but the first layer's inputs and the last layer's outputs."""
    return Everywhere(weight=options.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Everywhere:
    """Group lasso over the matrices and kernels of whatever model it meets."""

    bytes_per_weight: ClassVar[int] = GroupLasso.bytes_per_weight

    weight: float

    def add_to(self, gradient: Tensor, point: Point) -> None:
        """As `GroupLasso`."""
        names = point.layout.matrices
        GroupLasso(weight=self.weight, inputs=names[1:], outputs=names[:-1]).add_to(gradient, point)
