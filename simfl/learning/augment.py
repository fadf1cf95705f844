"""Random crops and flips of a batch. Pure: draws come from the generator that is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

Augmentation = Literal["crop", "flip"]
_BORDER: Final = 4


def augmented(images: Tensor, ways: Sequence[Augmentation], generator: torch.Generator) -> Tensor:
    """Each image moved by up to 4 pixels (``crop``), and every second one mirrored (``flip``).

    What comes into sight at a border is 0, in the units that the model sees.

    Args:
        images: (samples, channels, height, width); not changed.
        ways: in the order of their application.
        generator: on the CPU.

    Source: He et al. 2016, section 4.2 (4 pixels on each side, horizontal flips).
    """
    for way in ways:
        images = (_cropped if way == "crop" else _flipped)(images, generator)
    return images


def _cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    samples, _, height, width = images.shape
    start = torch.randint(2 * _BORDER + 1, (samples, 2), generator=generator).to(images.device)
    rows = start[:, :1] + torch.arange(height, device=images.device)
    columns = start[:, 1:] + torch.arange(width, device=images.device)
    number = torch.arange(samples, device=images.device)
    padded = pad(images, (_BORDER,) * 4)
    # the channels come last where other dimensions are indexed
    found = padded[number[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2).contiguous()


def _flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    mirrored = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)
