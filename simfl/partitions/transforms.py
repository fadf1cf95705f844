"""Image transforms by name: on float images (samples, channels, height, width) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad


def _turned(images: Tensor, quarters: int) -> Tensor:
    """Against the clock."""
    return torch.rot90(images, quarters, (-2, -1))


def _blurred(images: Tensor) -> Tensor:
    """Each pixel the mean of the 3 x 3 around it; the border is repeated."""
    return avg_pool2d(pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _stretched(images: Tensor) -> Tensor:
    """Half as far again from the middle grey."""
    return ((images - 0.5) * 1.5 + 0.5).clamp(0, 1)


def _moved(images: Tensor) -> Tensor:
    """By an eighth to the right and down; what comes in is black."""
    height, width = images.shape[-2:]
    down, right = height // 8, width // 8
    return pad(images, (right, 0, down, 0))[..., :height, :width]


TRANSFORMS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "identity": lambda images: images,
    "hflip": lambda images: images.flip(-1),
    "vflip": lambda images: images.flip(-2),
    "rot90": partial(_turned, quarters=1),
    "rot180": partial(_turned, quarters=2),
    "rot270": partial(_turned, quarters=3),
    "invert": lambda images: 1 - images,
    "blur": _blurred,
    "darken": lambda images: images * 0.5,
    "brighten": lambda images: (images * 1.5).clamp(max=1),
    "contrast": _stretched,
    "translate": _moved,
}
"""In the order in which clients are given them."""
