"""Tiny YOLOv2: nine convolutions, 16-32-64-128-256-512-1024-1024, as a classifier.

Source: Redmon and Farhadi 2017, YOLO9000, in the small form of their public code
(``yolov2-tiny-voc``). With 3 channels 15,861,773 parameters where it ends as for VOC, 15,743,898
where it ends with 10 classes. DFL-Trim (Pinto et al. 2025) classifies with it, and does not say how
it ends.

Departs from the source: there a pooling of stride 1 stands after the sixth convolution. It is left
out: on images of 32 x 32 and less it would see one pixel.
"""

from functools import partial
from typing import Final, Literal

from torch import Tensor, nn

from simfl.errors import OptionError
from simfl.models.base import Architecture, ModelOptions, chain
from simfl.models.count import declare
from simfl.registry import MODELS

_CHANNELS: Final = (16, 32, 64, 128, 256, 512, 1024, 1024)
_POOLS: Final = 5
_SLOPE: Final = 0.1
_ANCHORS: Final = 5
_BOX: Final = 5  # x, y, width, height, and whether there is something
_VOC_CLASSES: Final = 20


class TinyYoloV2Options(ModelOptions):
    """How it ends.

    Attributes:
        head: ``classes`` is a 1 x 1 convolution to the classes; ``voc``, one to the detector's 125
            channels, of which each of five anchors has a box and the scores of 20 classes. Both
            are taken in the mean over all positions, the scores also over the anchors.
    """

    head: Literal["classes", "voc"] = "classes"


class _ClassScores(nn.Module):
    """The mean over the anchors of the first classes' scores.

    Args:
        classes: at most VOC's.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._end = _BOX + classes

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, 125) to (batch, classes)."""
        anchors: Tensor = x.unflatten(1, (_ANCHORS, -1))
        return anchors[:, :, _BOX : self._end].mean(1)


def _module(channels: int, classes: int, head: str) -> nn.Module:
    layers: dict[str, nn.Module] = {}
    for number, outputs in enumerate(_CHANNELS, 1):
        layers[f"conv{number}"] = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{number}"] = nn.LeakyReLU(_SLOPE)
        if number <= _POOLS:
            # as there, a window that goes beyond the image sees what there is of it
            layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
        channels = outputs
    ends = classes if head == "classes" else _ANCHORS * (_BOX + _VOC_CLASSES)
    layers["conv9"] = nn.Conv2d(channels, ends, 1)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    if head == "voc":
        layers["scores"] = _ClassScores(classes)
    return chain(**layers)


@MODELS.register("tiny_yolo_v2", options=TinyYoloV2Options)
def tiny_yolo_v2(
    options: TinyYoloV2Options, *, classes: int, sample_shape: tuple[int, int, int]
) -> Architecture:
    """Of any image size: its last pooling takes the mean over all positions.

    Raises:
        OptionError: more classes than VOC has, for its head.
    """
    if options.head == "voc" and classes > _VOC_CLASSES:
        raise OptionError("head", f"voc scores {_VOC_CLASSES} classes, not {classes}; use classes")
    build = partial(_module, sample_shape[0], classes, options.head)
    return declare("tiny_yolo_v2", build, options, classes=classes, sample_shape=sample_shape)
