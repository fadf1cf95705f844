"""AutoPrune's Conv: 5 x 5 convolutions, each pooled, and one linear layer.

Source: Nguyen et al. 2025, "Automatic structured pruning for efficient architecture in federated
learning", Table 1, and their public code: 56,126 parameters for 28 x 28 grey inputs and 62 classes,
80,930 for 84 x 84 colour ones and 2.
"""

from functools import partial
from typing import Final, Literal

from simfl.models.base import Architecture
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import declare
from simfl.models.keras import KerasOptions
from simfl.registry import MODELS

_STAGES: Final = {
    "femnist": (Conv(32, 5), Conv(64, 5)),
    "celeba": (Conv(32, 5, padding=2),) * 4,
}


class AutoPruneConvOptions(KerasOptions):
    """Which of the two.

    Attributes:
        form: ``femnist`` has two convolutions without padding, and the linear layer sees the mean
            of each channel; ``celeba`` has four with padding, and it sees every position.
    """

    form: Literal["femnist", "celeba"] = "femnist"


@MODELS.register("autoprune_conv", options=AutoPruneConvOptions)
def autoprune_conv(
    options: AutoPruneConvOptions, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """32-64-62 or 32-32-32-32-2.

    Raises:
        OptionError: the images are too small.
    """
    stages, mean = _STAGES[options.form], options.form == "femnist"
    build = partial(convolutions, sample_shape, stages, (classes,), mean=mean)
    return declare("autoprune_conv", build, options, classes=classes, sample_shape=sample_shape)
