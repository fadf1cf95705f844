"""What Keras's layers do where PyTorch's do otherwise: initial weights, padding, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import nn

from simfl.models.base import Init, ModelOptions

_EPSILON: Final = 1e-3
_MOMENTUM: Final = 0.01  # of the new value; Keras says 0.99, of the old one


class KerasOptions(ModelOptions):
    """Options of every model, with Keras's default.

    Attributes:
        init: as for every model; ``glorot`` is what Keras's layers do.
    """

    init: Init = "glorot"


def normalization(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the numbers of Keras's BatchNormalization."""
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


def strided(
    inputs: int, outputs: int, kernel: int, sides: Sequence[int]
) -> tuple[nn.Module, nn.Conv2d]:
    """A convolution of stride 2 padded as ``same`` is: what it needs, the odd pixel at the end.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: side of its square window.
        sides: height and width of the images; half of them, rounded up, is left.

    Returns:
        The padding that the convolution cannot do itself, if any, and the convolution.

    >>> pad, conv = strided(1, 4, 3, (28, 28))
    >>> pad.padding, conv.padding
    ((0, 1, 0, 1), (0, 0))
    >>> pad, conv = strided(1, 4, 3, (21, 21))
    >>> pad, conv.padding
    (Identity(), (1, 1))
    """
    needs = [max(0, 2 * (half(side) - 1) + kernel - side) for side in sides]
    height, width = (need % 2 for need in needs)
    pad = nn.ZeroPad2d((0, width, 0, height)) if height or width else nn.Identity()
    around = needs[0] // 2, needs[1] // 2
    return pad, nn.Conv2d(inputs, outputs, kernel, stride=2, padding=around)


def half(side: int) -> int:
    """What stride 2 leaves of a side padded as ``same`` is.

    >>> half(84), half(21)
    (42, 11)
    """
    return (side + 1) // 2
