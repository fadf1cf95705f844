"""Proximal: (mu / 2) ||w - w_received||^2 keeps a turn near the model that it began with.

Source: Li et al. 2020 (FedProx), eq. (2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from simfl.objectives.base import Point, Term
from simfl.options import Options
from simfl.registry import OBJECTIVES

Form = Literal["squared", "public_code"]


class ProximalOptions(Options):
    """How near.

    Attributes:
        mu: the weight of the term.
        form: ``squared`` is FedProx. ``public_code`` is what FedDIP's and FedDST's repositories
            run under that name: their anchor is the very model that is trained, so the term is
            zero, and with pruned weights that live on it is (mu / 2) times the sum over tensors of
            ||w x mask - w||, which pushes pruned weights away from zero.
    """

    mu: Annotated[float, Field(ge=0)]
    form: Form = "squared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proximal:
    """As `ProximalOptions` say."""

    bytes_per_weight: ClassVar[int] = 16  # reads both models and the gradient, writes that

    mu: float
    form: Form = "squared"

    def add_to(self, gradient: Tensor, point: Point) -> None:
        """Add mu (w - w_received), or the public code's gradient."""
        if self.form == "squared":
            # of the weights that change: what was pruned and lives on is held near, too
            gradient.add_(point.dense - point.start, alpha=self.mu)
            return
        apart = point.at - point.dense
        for part, away in _tensors(point, gradient, apart):
            length = torch.linalg.vector_norm(away, dim=1, keepdim=True)
            # where nothing is apart there is no direction either
            part.add_(away / length.clamp_min(torch.finfo(away.dtype).tiny), alpha=self.mu / 2)


def _tensors(point: Point, *stacks: Tensor) -> list[tuple[Tensor, ...]]:
    sizes = point.layout.sizes_within(stacks[0].shape[1])
    return list(zip(*(stack.split(sizes, 1) for stack in stacks), strict=True))


@OBJECTIVES.register("proximal", options=ProximalOptions)
def proximal(options: ProximalOptions) -> Term:
    """The term that the options describe."""
    return Proximal(mu=options.mu, form=options.form)
