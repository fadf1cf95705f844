"""LeNet-5: two 5 x 5 convolutions and three linear layers, 6-16-120-84-10.

Source: LeCun et al. 1998, in its present-day form: ReLU, max pooling, full connections; the first
convolution pads by 2. 61,706 parameters for 28 x 28 grey inputs and 10 classes (Long et al. 2023,
FedDIP: 62K).
"""

from functools import partial

from simfl.models.base import Architecture, ModelOptions
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.registry import MODELS


@MODELS.register("lenet5", options=ModelOptions)
def lenet5(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """400-120-84-10 after the convolutions on 28 x 28; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    stages = (Conv(6, 5, padding=2), Conv(16, 5))
    build = partial(convolutions, sample_shape, stages, (120, 84, classes))
    return declare("lenet5", build, options, classes=classes, sample_shape=sample_shape)
