"""Which weights to keep for what they matter, and what they cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer's weights; tensors of one shape.

    Attributes:
        mask: 1 where a weight is kept now.
        importance: the square of its gradient, of pruned ones too.
        cost: seconds of a round for each kept weight.
    """

    weight: Tensor
    mask: Tensor
    importance: Tensor
    cost: float


def by_cost(layers: Mapping[str, Layer], share: float, fixed_s: float) -> dict[str, Tensor]:
    """Masks that maximise importance over seconds, among those near the present ones.

    Of each layer the smallest ``share`` of the kept weights may go, and all pruned ones may come
    back. The rest stays. Candidates are taken by importance per second, as long as one improves
    the ratio of the whole.

    Source: Jiang et al. 2022, Algorithm 2, with Theorem 1: taking by ratio is optimal.
    """
    fixed: dict[str, Tensor] = {}
    ratios, gains, costs, places = [], [], [], []
    total, seconds = 0.0, fixed_s
    for number, (name, layer) in enumerate(layers.items()):
        stays = _without_smallest(layer, share)
        fixed[name] = stays
        total += float(layer.importance[stays].double().sum())
        seconds += layer.cost * int(stays.sum())
        candidates = (~stays).reshape(-1).nonzero()[:, 0]
        gain = layer.importance.reshape(-1)[candidates].double()
        gains.append(gain)
        ratios.append(gain / layer.cost)
        costs.append(torch.full_like(gain, layer.cost))
        places.append(torch.stack([torch.full_like(candidates, number), candidates]))
    ratio, place = torch.cat(ratios), torch.cat(places, 1)
    order = ratio.argsort(descending=True, stable=True)
    gained, spent = torch.cat(gains)[order], torch.cat(costs)[order]
    # what the whole is worth before each candidate
    before = (total + gained.cumsum(0) - gained) / (seconds + spent.cumsum(0) - spent)
    refused = (ratio[order] <= before).nonzero()
    taken = order[: int(refused[0, 0]) if len(refused) else len(order)]
    for number, name in enumerate(layers):
        mine = place[1, taken][place[0, taken] == number]
        fixed[name].view(-1)[mine] = True
    return {name: stays.to(layers[name].weight.dtype) for name, stays in fixed.items()}


def largest(layers: Mapping[str, Layer], share: float) -> dict[str, Tensor]:
    """Masks that keep the ``share`` of all weights whose importance is largest; ties by position.

    Source: FedDIP's public code, where the threshold by seconds decides nothing.
    """
    flat = torch.cat([layer.importance.reshape(-1) for layer in layers.values()])
    kept = torch.zeros_like(flat)
    kept[flat.argsort(descending=True, stable=True)[: int(share * len(flat))]] = 1
    parts = kept.split([layer.importance.numel() for layer in layers.values()])
    return {n: p.view_as(x.weight) for (n, x), p in zip(layers.items(), parts, strict=True)}


def _without_smallest(layer: Layer, share: float) -> Tensor:
    """The kept weights, without the smallest of them."""
    stays = layer.mask.bool().clone()
    goes = int(share * int(stays.sum()))
    size = torch.where(stays, layer.weight.abs(), torch.inf).reshape(-1)
    stays.view(-1)[size.argsort(stable=True)[:goes]] = False
    return stays
