"""SimpleCNN: LeNet-5 without padding, 6-16-120-84-10.

Source: the Flower tutorials' network, as used for MNIST by the structured-pruning experiments on
Flower: 44,426 parameters for 28 x 28 grey inputs and 10 classes.
"""

from functools import partial

from simfl.models.base import Architecture, ModelOptions
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.registry import MODELS


@MODELS.register("simple_cnn", options=ModelOptions)
def simple_cnn(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """256-120-84-10 after the convolutions on 28 x 28; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    build = partial(convolutions, sample_shape, (Conv(6, 5), Conv(16, 5)), (120, 84, classes))
    return declare("simple_cnn", build, options, classes=classes, sample_shape=sample_shape)
