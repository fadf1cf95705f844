"""Masks that move: the smallest weights go, and as many others come at random. Pure.

Source: Babakniya et al. 2023 (FLASH), in its public code; after Dettmers and Zettlemoyer 2019
(sparse momentum), here with magnitudes in the place of momentum.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

import torch
from torch import Tensor

from simfl.pruning.masks import drop_smallest
from simfl.pruning.scope import MaskViews, Weights

# below this share of zeros a layer loses no more than it has room for (public code)
_CROWDED: Final = 0.2


def apportioned(total: int, wanted: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers that sum to ``total``, in proportion to what is wanted.

    None is above its room; the others make up for it. Fractions go to the largest remainders.

    Args:
        total: at most the sum of the room; of more, that sum.
        wanted: not negative.
        room: the most of each.

    >>> apportioned(10, {"a": 1.0, "b": 2.0, "c": 9.0}, {"a": 9, "b": 9, "c": 4})
    {'a': 2, 'b': 4, 'c': 4}
    """
    total = min(total, sum(room.values()))
    exact: dict[str, float] = dict(room)
    open_, left = list(room), total
    while open_:
        sum_wanted = sum(wanted[name] for name in open_)
        # where nobody wants any, all alike
        share = {n: wanted[n] / sum_wanted if sum_wanted else 1 / len(open_) for n in open_}
        beyond = [name for name in open_ if left * share[name] > room[name]]
        if not beyond:
            exact |= {name: left * share[name] for name in open_}
            break
        open_ = [name for name in open_ if name not in beyond]
        left -= sum(room[name] for name in beyond)
    found = {name: min(int(exact[name]), room[name]) for name in room}
    missing = total - sum(found.values())
    for name in sorted(room, key=lambda name: found[name] - exact[name]):
        more = min(missing, 1, room[name] - found[name])
        found[name] += more
        missing -= more
    assert missing == 0
    return found


def moved(
    weights: Weights, masks: Mapping[str, Tensor], rate: float, generator: torch.Generator
) -> MaskViews:
    """Masks of as many entries, after one move.

    Of each layer the smallest share of the kept weights goes. As many come at random, also some of
    those that just went; layers have of them in proportion to their mean magnitude.

    Args:
        weights: by name, zero where they are pruned.
        masks: of each, 1 and 0.
        rate: the share that goes, rounded down to a count.
        generator: of the draws, on the CPU.
    """
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    means = {n: float(weights[n].abs().sum()) / max(1, count) for n, count in kept.items()}
    smaller = {}
    for name, mask in masks.items():
        sparsity = 1 - kept[name] / prod(mask.shape)
        crowded = sparsity < _CROWDED and means[name] * len(means) > sum(means.values())
        gone = min(rate, sparsity) if crowded else rate
        smaller[name] = drop_smallest(mask, weights[name].abs(), gone)
    left = {name: int(mask.sum()) for name, mask in smaller.items()}
    room = {name: smaller[name].numel() - count for name, count in left.items()}
    for name, count in apportioned(sum(kept.values()) - sum(left.values()), means, room).items():
        free = (smaller[name].view(-1) == 0).nonzero()[:, 0]
        drawn = torch.randperm(len(free), generator=generator)[:count]
        smaller[name].view(-1)[free[drawn.to(free.device)]] = 1
    return smaller
