"""AutoPrune's ResNet: a stem of 16 channels and two blocks that are 32 and 64 wide within.

Source: Nguyen et al. 2025, "Automatic structured pruning for efficient architecture in federated
learning", Table 1: 33,214 for 28 x 28 grey inputs and 62 classes, 30,626 for 84 x 84 colour ones
and 2. These are Keras's counts, the running means and variances among them; 352 less are trained.
Layers are those of their public code, with windows of 3 x 3, which the text has as 5 x 5. A block
ends with the channels of the stem: pruning it narrows them all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from torch import Tensor, nn

from simfl.models.base import Architecture
from simfl.models.count import declare
from simfl.models.keras import KerasOptions, half, normalization, strided
from simfl.registry import MODELS

_STEM: Final = 16
_WITHIN: Final = (32, 64)


class _Block(nn.Module):
    """Two 3 x 3 convolutions of which the first has stride 2, beside a 1 x 1 one of stride 2.

    Args:
        channels: that come and go.
        within: that the first convolution makes.
        sides: height and width of the images.
    """

    def __init__(self, channels: int, within: int, sides: Sequence[int]) -> None:
        super().__init__()
        self.pad, self.conv1 = strided(channels, within, 3, sides)
        self.norm1 = normalization(within)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(within, channels, 3, padding=1)
        self.norm2 = normalization(channels)
        # its name in torchvision, by which `LayerInfo.shortcut` knows it
        self.downsample = nn.Sequential(
            nn.Conv2d(channels, channels, 1, stride=2), normalization(channels)
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Half the image, rounded up."""
        y = self.relu1(self.norm1(self.conv1(self.pad(x))))
        out: Tensor = self.relu2(self.norm2(self.conv2(y)) + self.downsample(x))
        return out


class _ResNet(nn.Sequential):
    """The stem, the blocks and the linear layer.

    Attributes:
        streams: layers that are as wide as the stem by construction; as every block projects what
            goes around it, no addition says so.
    """

    streams: ClassVar = (("conv1", *(f"block{n}.conv2" for n, _ in enumerate(_WITHIN, 1))),)


def _module(sample_shape: tuple[int, int, int], classes: int) -> nn.Module:
    channels, *sides = sample_shape
    pad, conv1 = strided(channels, _STEM, 3, sides)
    layers = {"pad": pad, "conv1": conv1, "norm1": normalization(_STEM), "relu1": nn.ReLU()}
    # a window that goes beyond the image sees what there is of it
    layers["pool1"] = nn.MaxPool2d(2, ceil_mode=True)
    sides = [half(half(side)) for side in sides]
    for number, within in enumerate(_WITHIN, 1):
        layers[f"block{number}"] = _Block(_STEM, within, sides)
        sides = [half(side) for side in sides]
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(_STEM * sides[0] * sides[1], classes)
    return _ResNet(OrderedDict(layers))


@MODELS.register("autoprune_resnet", options=KerasOptions)
def autoprune_resnet(
    options: KerasOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """Of any image size; the linear layer follows it: a sixteenth of each side, rounded up."""
    build = partial(_module, sample_shape, classes)
    return declare("autoprune_resnet", build, options, classes=classes, sample_shape=sample_shape)
