"""Means of models. Pure; the order of the arguments is the order of the sum."""

from collections.abc import Sequence

import torch
from torch import Tensor

from simfl.pruning.masks import over
from simfl.tensors import Masks, NamedTensors, Payload


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
    masks: Sequence[Tensor | None],
    weights: Sequence[float],
    otherwise: Tensor | float = 0.0,
) -> Tensor:
    """Entry by entry, the weighted mean over those whose mask has the entry.

    Args:
        vectors: each (parameters,).
        masks: as many, of 1 and 0; None has every entry.
        weights: as many, not negative.
        otherwise: entries that nobody has, or nobody with a weight.

    Source: Bibikar et al. 2022 (FedDST), section 3, and its public code; LotteryFL's public code.

    >>> import torch
    >>> ones, first = torch.ones(2), torch.tensor([1.0, 0.0])
    >>> masked_mean([ones, 3 * ones, ones], [first, first, 0 * ones], [1, 3, 5], -1).tolist()
    [2.5, -1.0]
    """
    total = torch.zeros_like(vectors[0])
    heard = torch.zeros_like(total)
    for vector, mask, weight in zip(vectors, masks, weights, strict=True):
        if mask is None:
            total.add_(vector, alpha=weight)
            heard.add_(weight)
        else:
            total.addcmul_(vector, mask, value=weight)
            heard.add_(mask, alpha=weight)
    return torch.where(heard > 0, total / heard, otherwise)


def rebased(now: Payload, update: Payload, base: Payload, weight: float) -> Payload:
    """``now + weight (update - base)``, tensor by tensor; what only the update has stays as it is.

    Args:
        now: a model.
        update: at least its tensors, in the same shapes.
        base: likewise.
        weight: of the difference.

    Returns:
        Under the masks of the update, where it has others than its base; else under those of now.
    """
    views, masks = {}, {}
    shared = [name for name in update.tensors if name in base.tensors]
    of = now if _same(update.masks, base.masks, shared) else update
    for name, sent in update.tensors.items():
        if name not in now.tensors:
            views[name] = sent
            continue
        moved = now.tensors[name] + weight * (sent - base.tensors[name])
        if of.masks is not None:
            masks[name] = of.masks.views[name]
            moved = moved * masks[name]
        views[name] = moved
    tensors = NamedTensors.pack(views)
    if of.masks is None:
        return Payload(tensors)
    return Payload(tensors, over(tensors.layout, masks))


def _same(one: Masks | None, other: Masks | None, names: Sequence[str]) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or all(torch.equal(one.views[n], other.views[n]) for n in names)
