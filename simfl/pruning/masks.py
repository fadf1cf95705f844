"""Masks: which entries of a tensor stay. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from simfl.tensors import Layout, Masks, NamedTensors

_BIT: Final = torch.arange(8, dtype=torch.uint8)


def full(layout: Layout, device: torch.device | str = "cpu") -> Masks:
    """Masks that keep everything."""
    return Masks(layout, torch.ones(layout.size, device=device))


def over(layout: Layout, views: Mapping[str, Tensor]) -> Masks:
    """Masks over a whole layout: those given, and 1 elsewhere."""
    some = next(iter(views.values()), None)
    kept = full(layout, "cpu" if some is None else some.device)
    for name, mask in views.items():
        kept.views[name].copy_(mask)
    return kept


def applied(tensors: NamedTensors, masks: Masks) -> NamedTensors:
    """The tensors with zeros where the masks are 0."""
    return NamedTensors(tensors.layout, tensors.flat * masks.flat)


def support(tensors: NamedTensors, names: Iterable[str]) -> Masks:
    """Masks that keep what is not zero of some tensors, and all of the others."""
    return over(tensors.layout, {name: (tensors[name] != 0).float() for name in names})


def remaining_after(kept: int, rate: float) -> int:
    """Entries left after one pruning step: n - int(n x rate).

    Source: Jiang et al. 2019's public code, which truncates the number removed.

    >>> remaining_after(235200, 0.2), remaining_after(7, 0.1)
    (188160, 7)
    """
    return kept - int(kept * rate)


def drop_smallest(mask: Tensor, score: Tensor, rate: float) -> Tensor:
    """A mask without the lowest-scored share of what ``mask`` keeps.

    Args:
        mask: 1 for kept entries, else 0; any shape.
        score: the same shape. Ties go by position: the first entry goes first.
        rate: share of the kept entries to remove, in [0, 1].

    Source: Jiang et al. 2019, section 3.1 (one level, layer-wise); Han et al. 2015.

    >>> drop_smallest(torch.ones(4), torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.5).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    kept = int(mask.sum())
    removed = kept - remaining_after(kept, rate)
    ranked = torch.where(mask.bool(), score, torch.inf).reshape(-1).argsort(stable=True)
    out = mask.clone()
    out.view(-1)[ranked[:removed]] = 0
    return out


def keep_largest(mask: Tensor, score: Tensor, count: int) -> Tensor:
    """A mask of the highest-scored entries of what ``mask`` keeps: so many, or all of them.

    Ties go by position: the first entry stays.

    >>> mask = torch.tensor([1.0, 1.0, 1.0, 0.0])
    >>> keep_largest(mask, torch.tensor([3.0, 1.0, 2.0, 4.0]), 2).tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    return _first_of(mask, score, min(count, int(mask.sum())))


def grow_largest(mask: Tensor, score: Tensor, count: int) -> Tensor:
    """The mask with the highest-scored of the other entries too, until it keeps so many.

    One that keeps more already stays as it is.

    >>> mask = torch.tensor([1.0, 0.0, 0.0, 0.0])
    >>> grow_largest(mask, torch.tensor([9.0, 1.0, 3.0, 2.0]), 3).tolist()
    [1.0, 0.0, 1.0, 1.0]
    """
    missing = max(0, min(count, mask.numel()) - int(mask.sum()))
    return mask + _first_of(1 - mask, score, missing)


def _first_of(mask: Tensor, score: Tensor, count: int) -> Tensor:
    """Of what a mask has, the highest-scored, so many."""
    ranked = torch.where(mask.bool(), score, -torch.inf).reshape(-1)
    out = torch.zeros_like(mask)
    out.view(-1)[ranked.argsort(descending=True, stable=True)[:count]] = 1
    return out


def to_bits(masks: Masks) -> Tensor:
    """A bit for each entry: uint8, (entries / 8,), for masks that are held in great numbers."""
    flat = masks.flat.cpu().to(torch.uint8)
    whole = torch.zeros(-(-len(flat) // 8) * 8, dtype=torch.uint8)
    whole[: len(flat)] = flat
    return (whole.view(-1, 8) << _BIT).sum(1, dtype=torch.uint8)


def from_bits(layout: Layout, bits: Tensor, device: torch.device | str = "cpu") -> Masks:
    """The masks that `to_bits` packed.

    >>> masks = Masks(Layout(("a",), ((9,),)), torch.tensor([1.0, 0, 0, 1, 1, 0, 1, 0, 1]))
    >>> to_bits(masks).tolist(), from_bits(masks.layout, to_bits(masks)).flat.equal(masks.flat)
    ([89, 1], True)
    """
    flat = (bits.unsqueeze(1) >> _BIT).bitwise_and_(1).view(-1)[: layout.size]
    return Masks(layout, flat.float().to(device))
