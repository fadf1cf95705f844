"""Conv-FashionMNIST: two 3 x 3 convolutions and three linear layers, 32-64-300-100-10.

Source: Jiang et al. 2019 (PruneFL, early version), Table 1; 741,426 parameters for 28 x 28 grey
inputs and 10 classes (741.4K there; section 6.2 prints 714,426, two digits exchanged). Windows and
padding follow from the 18.8K parameters of the convolutions and the 2,304 inputs behind them.
"""

from functools import partial
from typing import Final

from simfl.models.base import Architecture, ModelOptions
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.registry import MODELS

_STAGES: Final = (Conv(32, 3, padding=1), Conv(64, 3))


@MODELS.register("conv_fashionmnist", options=ModelOptions)
def conv_fashionmnist(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """2304-300-100-10 after the convolutions on 28 x 28; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    build = partial(convolutions, sample_shape, _STAGES, (300, 100, classes))
    return declare("conv_fashionmnist", build, options, classes=classes, sample_shape=sample_shape)
