"""Layer norms: c times the sum over layers of ||w_layer||, not squared.

Source: Long et al. 2023 (FedDIP), eq. (8); also what its public code calls PruneTrain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from simfl.objectives.base import Point, Term
from simfl.options import Options
from simfl.registry import OBJECTIVES


class LayerNormsOptions(Options):
    """How much of it.

    Attributes:
        weight: c.
    """

    weight: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorms:
    """The norms of some tensors.

    Attributes:
        names: of which tensors; empty for all matrices and kernels.
    """

    bytes_per_weight: ClassVar[int] = 16  # reads the weights twice and the gradient, writes that

    weight: float
    names: tuple[str, ...] = ()

    def add_to(self, gradient: Tensor, point: Point) -> None:
        """Add c w / ||w||, layer by layer; a layer of zeros adds nothing."""
        for name in self.names or point.layout.matrices:
            place = point.layout.places[name]
            layer = point.at[:, place]
            length = torch.linalg.vector_norm(layer, dim=1, keepdim=True)
            scale = self.weight / length.clamp_min(torch.finfo(layer.dtype).tiny)
            gradient[:, place].addcmul_(layer, scale)


@OBJECTIVES.register("layer_norms", options=LayerNormsOptions)
def layer_norms(options: LayerNormsOptions) -> Term:
    """Over every matrix and kernel of the model."""
    return LayerNorms(weight=options.weight)
