"""LeNet-300-100: a perceptron with two hidden layers.

Source: LeCun et al. 1998; 266,610 parameters for 28 x 28 inputs and 10 classes (Jiang et al. 2019,
Table 1: 266.6K).
"""

from functools import partial
from math import prod

from torch import nn

from simfl.models.base import Architecture, ModelOptions, chain
from simfl.models.count import declare
from simfl.registry import MODELS


def _module(inputs: int, classes: int) -> nn.Module:
    return chain(
        flatten=nn.Flatten(),
        fc1=nn.Linear(inputs, 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, classes),
    )


@MODELS.register("lenet_300_100", options=ModelOptions)
def lenet_300_100(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """784-300-100-10 on MNIST; the input and output widths follow the data."""
    build = partial(_module, prod(sample_shape), classes)
    return declare("lenet_300_100", build, options, classes=classes, sample_shape=sample_shape)
