"""Means of models. Pure; the order of the arguments is the order of the sum."""

from collections.abc import Sequence

import torch
from torch import Tensor


def weighted_mean(vectors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of weight x vector over the sum of weights.

    Args:
        vectors: each (parameters,).
        weights: as many, not all zero.

    Source: McMahan et al. 2017, Algorithm 1.

    >>> import torch
    >>> weighted_mean([torch.tensor([0.0]), torch.tensor([4.0])], [3, 1]).tolist()
    [1.0]
    """
    total = sum(weights)
    mean = vectors[0] * (weights[0] / total)
    for vector, weight in zip(vectors[1:], weights[1:], strict=True):
        mean.add_(vector, alpha=weight / total)
    return mean


def masked_mean(
    vectors: Sequence[Tensor],
    masks: Sequence[Tensor],
    weights: Sequence[float],
    otherwise: Tensor,
) -> Tensor:
    """Entry by entry the weighted mean of the vectors whose mask has it.

    Args:
        vectors: each (parameters,); what they have outside their masks does not count.
        masks: as many, of 1 and 0.
        weights: as many, positive.
        otherwise: what an entry is that no mask has, (parameters,).

    Source: Li et al. 2021 (LotteryFL), as its public code averages; Bibikar et al. 2022 (FedDST),
    Algorithm 1.

    >>> import torch
    >>> vectors = [torch.tensor([1.0, 3.0, 0.0]), torch.tensor([4.0, 0.0, 0.0])]
    >>> masks = [torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])]
    >>> masked_mean(vectors, masks, [1, 2], torch.tensor([9.0, 9.0, 9.0])).tolist()
    [3.0, 3.0, 9.0]
    """
    total, weight_of = torch.zeros_like(otherwise), torch.zeros_like(otherwise)
    for vector, mask, weight in zip(vectors, masks, weights, strict=True):
        total.addcmul_(vector, mask, value=weight)
        weight_of.add_(mask, alpha=weight)
    return torch.where(weight_of > 0, total / weight_of.clamp(min=min(weights)), otherwise)
