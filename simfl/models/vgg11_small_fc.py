"""VGG-11 with small linear layers: eight 3 x 3 convolutions, 512-512-512-10; for 32 x 32 pixels.

Source: Simonyan and Zisserman 2015, configuration A, without batch normalisation; linear layers as
in Jiang et al. 2019 (PruneFL, early version), Table 1: 9,750,922 parameters for 32 x 32 colour
inputs and 10 classes (9750.9K there).
"""

from functools import partial
from typing import Final

from simfl.models.base import Architecture, ModelOptions
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.registry import MODELS

_STAGES: Final = tuple(
    Conv(channels, 3, padding=1, pool=pool)
    for channels, pool in (
        *((64, True), (128, True), (256, False), (256, True)),
        *((512, False), (512, True), (512, False), (512, True)),
    )
)


@MODELS.register("vgg11_small_fc", options=ModelOptions)
def vgg11_small_fc(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """512-512-512-10 after the convolutions on 32 x 32; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    build = partial(convolutions, sample_shape, _STAGES, (512, 512, classes))
    return declare("vgg11_small_fc", build, options, classes=classes, sample_shape=sample_shape)
