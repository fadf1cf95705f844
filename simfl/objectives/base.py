"""What a loss term is: what it adds to the gradient of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from simfl.tensors import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a step takes its gradient; vectors of a stack of models, (models, parameters).

    Attributes:
        at: the weights that the data's loss is computed with: pruned ones, where there is a mask.
        dense: the weights that the step will change; the same, unless pruned weights live on.
        start: the weights that the turn began with.
        layout: which entries are which tensor's.
    """

    at: Tensor
    dense: Tensor
    start: Tensor
    layout: Layout


class Term(Protocol):
    """A loss term: frozen, and its ``repr`` says all that its result depends on.

    Attributes:
        bytes_per_weight: memory traffic of a step for each parameter, in float32.
    """

    bytes_per_weight: ClassVar[int]

    def add_to(self, gradient: Tensor, point: Point) -> None:
        """Add the term's gradient, in place; each model of the stack by itself."""
