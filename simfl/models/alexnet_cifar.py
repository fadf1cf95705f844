"""AlexNet for 32 x 32 pixels: five 3 x 3 convolutions and three linear layers, 64-192-384-256-256.

Source: Krizhevsky et al. 2012, as often adapted to CIFAR: the first convolution has stride 2, the
linear layers 4,096 outputs on 2 x 2 positions. 23,272,266 parameters for 32 x 32 colour inputs and
10 classes (Long et al. 2023, FedDIP: 23.3M).
"""

from functools import partial
from typing import Final

from torch import nn

from simfl.models.base import Architecture, ModelOptions, chain, need_side
from simfl.models.count import declare
from simfl.options import Share
from simfl.registry import MODELS

_LEAST_SIDE: Final = 15


class AlexNetOptions(ModelOptions):
    """What it forgets.

    Attributes:
        dropout: share of the inputs of the first two linear layers that a training step leaves out.
    """

    dropout: Share = 0.5


def _module(channels: int, classes: int, dropout: float) -> nn.Module:
    return chain(
        conv1=nn.Conv2d(channels, 64, 3, stride=2, padding=1),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(64, 192, 3, padding=1),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(192, 384, 3, padding=1),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(384, 256, 3, padding=1),
        relu4=nn.ReLU(),
        conv5=nn.Conv2d(256, 256, 3, padding=1),
        relu5=nn.ReLU(),
        pool3=nn.MaxPool2d(2),
        pool4=nn.AdaptiveAvgPool2d(2),
        flatten=nn.Flatten(),
        drop1=nn.Dropout(dropout),
        fc1=nn.Linear(1024, 4096),
        relu6=nn.ReLU(),
        drop2=nn.Dropout(dropout),
        fc2=nn.Linear(4096, 4096),
        relu7=nn.ReLU(),
        fc3=nn.Linear(4096, classes),
    )


@MODELS.register("alexnet_cifar", options=AlexNetOptions)
def alexnet_cifar(
    options: AlexNetOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """1024-4096-4096-10 after the convolutions, on images of 15 x 15 and more.

    Raises:
        OptionError: the images are too small.
    """
    need_side(sample_shape, _LEAST_SIDE)
    build = partial(_module, sample_shape[0], classes, options.dropout)
    return declare("alexnet_cifar", build, options, classes=classes, sample_shape=sample_shape)
