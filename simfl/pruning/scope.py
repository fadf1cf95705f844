"""Scopes: over which weights a rule to prune is taken together. Pure.

What goes is chosen by torch.nn.utils.prune's own classes, so that masks are theirs, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, prod

import torch
from torch import Tensor
from torch.nn.utils import prune

Weights = Mapping[str, Tensor]
MaskViews = dict[str, Tensor]


def smallest_of_all(weights: Weights, share: float) -> MaskViews:
    """Global, unstructured: the smallest magnitudes of all weights taken together go.

    Args:
        weights: by name; they are ranked in this order.
        share: of them all to prune, in [0, 1]; rounded to a count.

    Returns:
        Masks of 1 and 0, by name. Source: torch.nn.utils.prune.global_unstructured.

    >>> smallest_of_all({"a": torch.tensor([1.0, -4.0]), "b": torch.tensor([2.0, 3.0])}, 0.5)
    {'a': tensor([0., 1.]), 'b': tensor([0., 1.])}
    """
    flat = torch.cat([weight.reshape(-1) for weight in weights.values()])
    kept = _smallest(flat, share)
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {n: p.view_as(w) for (n, w), p in zip(weights.items(), parts, strict=True)}


def smallest_of_each(weights: Weights, share: float) -> MaskViews:
    """Local, unstructured: the smallest magnitudes of each tensor go.

    Source: torch.nn.utils.prune.l1_unstructured.
    """
    return {name: _smallest(weight, share) for name, weight in weights.items()}


def rows_of_each(weights: Weights, share: float) -> MaskViews:
    """Local, structured: the rows (filters, neurons) of each tensor whose L1 norms are smallest go.

    Source: torch.nn.utils.prune.ln_structured with n = 1 and dim = 0.
    """
    rule = prune.LnStructured(amount=share, n=1, dim=0)
    return {
        name: rule.compute_mask(weight, torch.ones_like(weight)) for name, weight in weights.items()
    }


def _smallest(weight: Tensor, share: float) -> Tensor:
    mask: Tensor = prune.L1Unstructured(amount=share).compute_mask(weight, torch.ones_like(weight))
    return mask


def erk_densities(
    shapes: Mapping[str, Sequence[int]], density: float, power: float = 1.0
) -> dict[str, float]:
    """The density of each layer when a model's is given: large layers are thinned out more.

    A layer's density is proportional to (sum of its dimensions / product of them)^power; layers
    that would be denser than full are full, and the others make up for them.

    Args:
        shapes: of the weights, by name.
        density: of all of them together, in [0, 1].
        power: 0 is uniform.

    Source: Evci et al. 2020 (RigL), section 3, Erdos-Renyi-Kernel; Mocanu et al. 2018.

    >>> found = erk_densities({"a": (4, 4), "b": (40, 40)}, 0.2)
    >>> {name: round(share, 3) for name, share in found.items()}
    {'a': 1.0, 'b': 0.192}
    """
    raw = {name: (sum(shape) / prod(shape)) ** power for name, shape in shapes.items()}
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        open_ = [name for name in shapes if name not in full]
        wanted = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        room = sum(raw[name] * sizes[name] for name in open_)
        if not open_ or room == 0:
            return dict.fromkeys(shapes, 1.0)
        scale = wanted / room
        highest = max(raw[name] for name in open_)
        if scale * highest <= 1:
            return {name: 1.0 if name in full else scale * raw[name] for name in shapes}
        full |= {name for name in open_ if raw[name] == highest}


def public_erk_kept(
    shapes: Mapping[str, Sequence[int]], density: float, others: Mapping[str, int]
) -> dict[str, int]:
    """Weights that each layer keeps, as FedDST's public code has it in the place of ERK.

    Sparsities, not densities, are in the proportion of 1 - sum of dimensions / product of them, and
    the layer's other parameters count as kept weights. A layer that would be denser than full, or
    sparser than empty, is full.

    Args:
        shapes: of the weights, by name.
        density: of all parameters together, in [0, 1].
        others: entries of each layer beside the weight: its bias.

    >>> public_erk_kept({"a": (10, 10), "b": (50, 50)}, 0.2, {"a": 0, "b": 0})
    {'a': 32, 'b': 487}
    """
    raw = {name: 1 - sum(shape) / prod(shape) for name, shape in shapes.items()}
    sizes = {name: prod(shape) + others[name] for name, shape in shapes.items()}
    room = sum(raw[name] * sizes[name] for name in shapes)
    scale = (1 - density) * sum(sizes.values()) / room if room else 0.0
    kept = {name: floor((1 - scale * raw[name]) * sizes[name]) for name in shapes}
    whole = {name: prod(shape) for name, shape in shapes.items()}
    return {n: kept[n] if 0 < kept[n] < whole[n] else whole[n] for n in shapes}


def random_masks(
    shapes: Mapping[str, Sequence[int]], densities: Mapping[str, float], generator: torch.Generator
) -> MaskViews:
    """Masks that keep a share of each tensor at random, rounded down."""
    counts = {name: int(densities[name] * prod(shape)) for name, shape in shapes.items()}
    return masks_of(shapes, counts, generator)


def masks_of(
    shapes: Mapping[str, Sequence[int]], counts: Mapping[str, int], generator: torch.Generator
) -> MaskViews:
    """Masks that keep so many entries of each tensor at random."""
    masks = {}
    for name, shape in shapes.items():
        size = prod(shape)
        mask = torch.zeros(size)
        mask[torch.randperm(size, generator=generator)[: counts[name]]] = 1
        masks[name] = mask.view(*shape)
    return masks
