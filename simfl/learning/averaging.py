"""Means of models. Pure; the order of the arguments is the order of the sum."""

from collections.abc import Sequence

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
