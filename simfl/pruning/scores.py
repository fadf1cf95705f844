"""Scores: how much each weight matters; the smallest go first. Pure."""

import torch
from torch import Tensor


def magnitude(weight: Tensor) -> Tensor:
    """|w|, the same shape. Source: Han et al. 2015, section 3."""
    return weight.abs()


def random(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), the same shape."""
    return torch.rand(weight.shape, generator=generator).to(weight.device)
