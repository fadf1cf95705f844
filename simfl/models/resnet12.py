"""ResNet12: four stages of three basic blocks, 64 to 512 channels, with the stem for CIFAR.

Source: the structured-pruning experiments on Flower, which call it so by its blocks (the few-shot
networks of that name are others): 17,444,682 parameters for 32 x 32 colour inputs and 10 classes,
17,443,530 for 28 x 28 grey ones. Their last pooling is over 4 x 4 positions; that is all there are
from 25 to 32 pixels.
"""

from functools import partial

from simfl.models.base import Architecture, ModelOptions
from simfl.models.count import declare
from simfl.models.residual import residual
from simfl.registry import MODELS
from simfl.vision import torchvision


@MODELS.register("resnet12", options=ModelOptions)
def resnet12(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """Of any image size: its last pooling takes the mean over all positions."""
    torchvision()  # imported here, before a network is built on the meta device
    build = partial(residual, (3, 3, 3, 3), sample_shape[0], classes, "cifar")
    return declare("resnet12", build, options, classes=classes, sample_shape=sample_shape)
