"""Group lasso over channels: c times the sum of ||w_g|| over input and output channels.

Source: Lym et al. 2019 (PruneTrain), eq. (2): whole channels go to zero, since each belongs to a
group of its own among the outputs of one layer and among the inputs of the next.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        inputs: tensors whose input channels are groups; left out, all matrices and kernels but the
            first, whose inputs are pixels.
        outputs: tensors whose output channels are; left out, all but the last, whose outputs are
            classes.
    """

    bytes_per_weight: ClassVar[int] = 32  # as layer norms, for inputs and for outputs

    weight: float
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def add_to(self, gradient: Tensor, point: Point) -> None:
        """Add c w / ||w_g|| for both groups that a weight is in; a group of zeros adds nothing."""
        for name, others in self._groups(point):
            groups, into = (_channels(stack, point, name) for stack in (point.at, gradient))
            length = torch.linalg.vector_norm(groups, dim=others, keepdim=True)
            scale = self.weight / length.clamp_min(torch.finfo(length.dtype).tiny)
            into.addcmul_(groups, scale)

    def value(self, point: Point) -> Tensor:
        """The term itself, (models,)."""
        total = point.at.new_zeros(len(point.at))
        for name, others in self._groups(point):
            groups = _channels(point.at, point, name)
            total += torch.linalg.vector_norm(groups, dim=others).sum(1)
        return self.weight * total

    def _groups(self, point: Point) -> Iterator[tuple[str, tuple[int, int]]]:
        """Tensors, with the dimensions over which a channel's norm goes."""
        matrices = point.layout.matrices
        yield from ((name, (1, 3)) for name in self.inputs or matrices[1:])
        yield from ((name, (2, 3)) for name in self.outputs or matrices[:-1])


def _channels(stack: Tensor, point: Point, name: str) -> Tensor:
    """One tensor of a stack as a view (models, out, in, kernel positions)."""
    shape = point.layout.shape_of[name]
    view: Tensor = stack[:, point.layout.places[name]].unflatten(1, (*shape[:2], prod(shape[2:])))
    return view


@OBJECTIVES.register("group_lasso", options=GroupLassoOptions)
def group_lasso(options: GroupLassoOptions) -> Term:
    """Over the channels of every matrix and kernel of the model."""
    return GroupLasso(weight=options.weight)
