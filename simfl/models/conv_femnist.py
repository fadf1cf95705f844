"""Conv-FEMNIST: two 5 x 5 convolutions and three linear layers, 32-128-1024-512-62.

Source: Jiang et al. 2019 (PruneFL, early version), Table 1; 2,758,142 parameters for 28 x 28 grey
inputs and 62 classes as printed there. That the convolutions have windows of 5 x 5 and no padding
follows from their 103.4K parameters and the 2,048 inputs of the first linear layer.
"""

from functools import partial
from typing import Final

from simfl.models.base import Architecture, ModelOptions
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.registry import MODELS

_STAGES: Final = (Conv(32, 5), Conv(128, 5))


@MODELS.register("conv_femnist", options=ModelOptions)
def conv_femnist(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """2048-1024-512-62 after the convolutions on 28 x 28; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    build = partial(convolutions, sample_shape, _STAGES, (1024, 512, classes))
    return declare("conv_femnist", build, options, classes=classes, sample_shape=sample_shape)
