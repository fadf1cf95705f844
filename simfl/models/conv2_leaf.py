"""LEAF's FEMNIST network: two 5 x 5 convolutions and two linear layers, 32-64-2048-62.

Source: Caldas et al. 2018 (LEAF), as the PruneFL code has it (``Conv2``) and FLASH's ``leaf_cnn``;
6,603,710 parameters for 28 x 28 grey inputs and 62 classes.
"""

from functools import partial
from typing import Final

from simfl.models.base import Architecture, ModelOptions
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.registry import MODELS

_STAGES: Final = (Conv(32, 5, padding=2), Conv(64, 5, padding=2))


@MODELS.register("conv2_leaf", options=ModelOptions)
def conv2_leaf(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """3136-2048-62 after the convolutions on 28 x 28; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    build = partial(convolutions, sample_shape, _STAGES, (2048, classes))
    return declare("conv2_leaf", build, options, classes=classes, sample_shape=sample_shape)
