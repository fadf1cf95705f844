"""AutoPrune's Inception: convolutions of stride 2 around two blocks of 1 x 1, 3 x 3 and 5 x 5.

Source: Nguyen et al. 2025, "Automatic structured pruning for efficient architecture in federated
learning", Table 1, and their public code: 246,236 parameters for 28 x 28 grey inputs and 62
classes, 243,752 for 84 x 84 colour ones and 2. The blocks are the naive ones of Szegedy et al.
2015, Fig. 2(a), without their pooling.
"""

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from simfl.models.base import Architecture, chain, need_side
from simfl.models.count import declare
from simfl.models.keras import KerasOptions
from simfl.registry import MODELS

_LEAST_SIDE: Final = 15  # 15, 7, 3, 1


class _Inception(nn.Module):
    """Convolutions with windows of three sizes over the same image, their channels together.

    Args:
        inputs: channels.
        each: channels that each of the three makes.
    """

    def __init__(self, inputs: int, each: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(inputs, each, 1)
        self.conv3x3 = nn.Conv2d(inputs, each, 3, padding=1)
        self.conv5x5 = nn.Conv2d(inputs, each, 5, padding=2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """An image of the same size."""
        # ReLU of all together is ReLU of each
        out: Tensor = self.relu(
            torch.cat((self.conv1x1(x), self.conv3x3(x), self.conv5x5(x)), dim=1)
        )
        return out


def _module(channels: int, classes: int) -> nn.Module:
    return chain(
        conv1=nn.Conv2d(channels, 32, 3, stride=2),
        relu1=nn.ReLU(),
        block1=_Inception(32, 16),
        block2=_Inception(48, 32),
        conv2=nn.Conv2d(96, 96, 3, stride=2),
        relu2=nn.ReLU(),
        conv3=nn.Conv2d(96, 96, 3, stride=2),
        relu3=nn.ReLU(),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc1=nn.Linear(96, 50),
        relu4=nn.ReLU(),
        fc2=nn.Linear(50, classes),
    )


@MODELS.register("autoprune_inception", options=KerasOptions)
def autoprune_inception(
    options: KerasOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """96-50-62 after the convolutions, on images of 15 x 15 and more.

    Raises:
        OptionError: the images are too small.
    """
    need_side(sample_shape, _LEAST_SIDE)
    build = partial(_module, sample_shape[0], classes)
    return declare(
        "autoprune_inception", build, options, classes=classes, sample_shape=sample_shape
    )
