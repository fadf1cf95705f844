"""Residual networks of basic blocks, with torchvision's modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from simfl.vision import torchvision

Stem = Literal["cifar", "torchvision"]


def residual(depths: Sequence[int], channels: int, classes: int, stem: Stem) -> nn.Module:
    """Stages of 64, 128, 256 and 512 channels; the last pooling takes the mean over all positions.

    Args:
        depths: blocks of each stage.
        channels: of the images.
        classes: outputs.
        stem: ``cifar`` is a 3 x 3 convolution that keeps the image's size; ``torchvision``, 7 x 7
            with stride 2 and a max pooling.

    Source: He et al. 2016, Table 1 and section 4.2.
    """
    resnet = torchvision().models.resnet
    module: nn.Module = resnet.ResNet(resnet.BasicBlock, list(depths), num_classes=classes)
    if stem == "cifar":
        module.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        module.maxpool = nn.Identity()
    elif channels != 3:
        module.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return module
