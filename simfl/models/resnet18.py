"""ResNet-18, with torchvision's modules: blocks [2, 2, 2, 2] of 64 to 512 channels.

Source: He et al. 2016, Table 1. With 3 channels and 10 classes 11,173,962 parameters with the CIFAR
stem (Long et al. 2023, FedDIP: 11.2M with 100 classes), 11,181,642 with torchvision's.
"""

from functools import partial

from simfl.models.base import Architecture, ModelOptions
from simfl.models.count import declare
from simfl.models.residual import Stem, residual
from simfl.registry import MODELS
from simfl.vision import torchvision


class ResNet18Options(ModelOptions):
    """How it begins.

    Attributes:
        stem: ``cifar`` is a 3 x 3 convolution that keeps the image's size; ``torchvision``, 7 x 7
            with stride 2 and a max pooling, made for 224 x 224 pixels: 32 x 32 become 8 x 8.
    """

    stem: Stem = "cifar"


@MODELS.register("resnet18", options=ResNet18Options)
def resnet18(
    options: ResNet18Options, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """Of any image size: its last pooling takes the mean over all positions."""
    torchvision()  # imported here, before a network is built on the meta device
    build = partial(residual, (2, 2, 2, 2), sample_shape[0], classes, options.stem)
    return declare("resnet18", build, options, classes=classes, sample_shape=sample_shape)
