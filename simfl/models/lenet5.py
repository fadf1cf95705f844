"""LeNet-5: two 5 x 5 convolutions and three linear layers, 6-16-120-84-10.

Source: LeCun et al. 1998, in its present-day form: ReLU, max pooling, full connections; the first
convolution pads by 2. 61,706 parameters for 28 x 28 grey inputs and 10 classes (Long et al. 2023,
FedDIP: 62K).
"""

from functools import partial

from torch import nn

from simfl.errors import OptionError
from simfl.models.base import Architecture, ModelOptions, chain
from simfl.models.count import declare
from simfl.registry import MODELS


def lenet5_chain(sample_shape: tuple[int, int, int], classes: int, padding: int) -> nn.Module:
    """The network; ``padding`` is the first convolution's.

    Raises:
        OptionError: the second convolution would leave nothing of such images.
    """
    channels, *sides = sample_shape
    height, width = (((side + 2 * padding - 4) // 2 - 4) // 2 for side in sides)
    if min(height, width) < 1:
        found, due = "x".join(map(str, sides)), 16 - 2 * padding
        raise OptionError("name", f"needs images of at least {due}x{due}, and these are {found}")
    return chain(
        conv1=nn.Conv2d(channels, 6, 5, padding=padding),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(16 * height * width, 120),
        relu3=nn.ReLU(),
        fc2=nn.Linear(120, 84),
        relu4=nn.ReLU(),
        fc3=nn.Linear(84, classes),
    )


@MODELS.register("lenet5", options=ModelOptions)
def lenet5(
    options: ModelOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """400-120-84-10 after the convolutions on 28 x 28; the widths follow the data.

    Raises:
        OptionError: the images are too small.
    """
    build = partial(lenet5_chain, sample_shape, classes, padding=2)
    return declare("lenet5", build, options, classes=classes, sample_shape=sample_shape)
