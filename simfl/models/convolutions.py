"""Chains of convolutions, each with ReLU and most with a 2 x 2 max pooling, then linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from simfl.models.base import chain, need_side


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution of stride 1.

    Attributes:
        channels: that it makes.
        kernel: side of its square window.
        padding: on each side of the image.
        pool: whether it is pooled afterwards.
    """

    channels: int
    kernel: int
    padding: int = 0
    pool: bool = True


def convolutions(
    sample_shape: tuple[int, int, int],
    stages: Sequence[Conv],
    widths: Sequence[int],
    *,
    mean: bool = False,
) -> nn.Module:
    """Convolutions and linear layers, named ``conv1``, ``relu1``, ``pool1``... and ``fc1``...

    Args:
        sample_shape: of the images; the first linear layer follows them.
        stages: the convolutions.
        widths: outputs of the linear layers, the classes last.
        mean: linear layers see the mean of each channel over all positions, instead of them all.

    Raises:
        OptionError: a convolution would leave nothing of such images.
    """
    need_side(sample_shape, least_side(stages))
    channels, *sides = sample_shape
    layers: dict[str, nn.Module] = {}
    pools = 0
    for number, stage in enumerate(stages, 1):
        layers[f"conv{number}"] = nn.Conv2d(
            channels, stage.channels, stage.kernel, padding=stage.padding
        )
        layers[f"relu{number}"] = nn.ReLU()
        if stage.pool:
            pools += 1
            layers[f"pool{pools}"] = nn.MaxPool2d(2)
        channels, sides = stage.channels, [_after(stage, side) for side in sides]
    if mean:
        layers["mean"], sides = nn.AdaptiveAvgPool2d(1), [1, 1]
    layers["flatten"] = nn.Flatten()
    inputs = channels * sides[0] * sides[1]
    for number, width in enumerate(widths, 1):
        layers[f"fc{number}"] = nn.Linear(inputs, width)
        if number < len(widths):
            layers[f"relu{len(stages) + number}"] = nn.ReLU()
        inputs = width
    return chain(**layers)


def least_side(stages: Sequence[Conv]) -> int:
    """Pixels that an image's side needs so that one is left at the end."""
    side = 1
    for stage in reversed(stages):
        side = side * (1 + stage.pool) + stage.kernel - 1 - 2 * stage.padding
    return max(side, 1)


def _after(stage: Conv, side: int) -> int:
    side += 2 * stage.padding - stage.kernel + 1
    return side // 2 if stage.pool else side
