"""What a model declares: its layers with weights, and how it is initialised."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from simfl.errors import OptionError
from simfl.options import Options
from simfl.work import LayerWork

LayerKind = Literal["linear", "conv"]
Init = Literal["kaiming_fan_in", "kaiming_fan_out", "glorot", "torch"]


class ModelOptions(Options):
    """Options that every model has.

    Attributes:
        init: He's uniform bound sqrt(6 / fan) with zero biases; ``kaiming_fan_out`` takes the
            outputs for the fan, as a weight stored (in x out) does in PyTorch (PruneFL's public
            code: bounds 0.141, 0.245, 0.775 for LeNet-300-100). ``glorot`` is Keras's: bound
            sqrt(6 / (fan in + fan out)), positions of a window counted in both, and zero biases.
            ``torch`` is PyTorch's own: bound 1 / sqrt(fan in), for weights and biases.
    """

    init: Init = "kaiming_fan_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """One layer with weights.

    Attributes:
        weight: the name of its weight tensor.
        kind: ``linear`` or ``conv``.
        macs: multiply-accumulates of one sample's forward pass.
        output: whether it is the classifier's last layer.
    """

    weight: str
    kind: LayerKind
    macs: int
    output: bool = False

    @property
    def shortcut(self) -> bool:
        """Whether it is the projection beside a residual block, by its name in torchvision."""
        return ".downsample." in self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A model that can be built anywhere: name, builder, and what it declares.

    Attributes:
        layers: those with weights to prune.
        operations: all that a training step does, counted.
        sample_shape: the shape of one input, (channels, height, width).
        options: the scenario's; with name, shape and classes they say which network it is.
        least_batch: samples that a training step needs: 2 where batch normalisation is given one
            value per sample and channel, and takes its variance.
    """

    name: str
    build: Callable[[], nn.Module]
    layers: tuple[LayerInfo, ...]
    operations: tuple[LayerWork, ...]
    sample_shape: tuple[int, int, int]
    classes: int
    options: ModelOptions
    least_batch: int = 1

    @property
    def init(self) -> Init:
        """How its weights are drawn."""
        return self.options.init


@runtime_checkable
class DrawsItself(Protocol):
    """A layer whose parameters are no weight of their own, and which draws them accordingly."""

    def draw(self, init: Init, generator: torch.Generator) -> None:
        """Draw its parameters in place."""


def chain(**layers: nn.Module) -> nn.Sequential:
    """Named layers one after the other.

    >>> [name for name, _ in chain(flatten=nn.Flatten(), fc=nn.Linear(4, 2)).named_children()]
    ['flatten', 'fc']
    """
    return nn.Sequential(OrderedDict(layers))


def need_side(sample_shape: tuple[int, int, int], least: int) -> None:
    """Refuse images of which a network would leave nothing.

    Args:
        sample_shape: of the images.
        least: pixels that both sides need.

    Raises:
        OptionError: a side is shorter.
    """
    if min(sample_shape[1:]) < least:
        found = "x".join(map(str, sample_shape[1:]))
        raise OptionError(
            "name", f"needs images of at least {least}x{least}, and these are {found}"
        )


def initialise(module: nn.Module, init: Init, generator: torch.Generator) -> None:
    """Draw a module's parameters in place, from one generator, in the order of its layers.

    Batch normalisation draws nothing: it starts as the identity on normalised input (weight 1, bias
    0, running mean 0 and variance 1).

    Source: He et al. 2015, eq. (14), uniform; Ioffe and Szegedy 2015 for batch normalisation; for
    ``glorot``, Glorot and Bengio 2010, eq. (16); for ``torch``, LeCun et al. 1998, Efficient
    BackProp, as `reset_parameters` has it.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, DrawsItself):
                layer.draw(init, generator)
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                bound = bound_of(layer.weight.shape, init)
                layer.weight.uniform_(-bound, bound, generator=generator)
                draw_bias(layer.bias, init, bound, generator)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()


def bound_of(shape: Sequence[int], init: Init) -> float:
    """The bound of a weight's uniform distribution; its variance is a third of the square.

    Args:
        shape: (outputs, inputs), and of a convolution its window.
        init: how.
    """
    outputs, fan_in = shape[0], prod(shape[1:])
    fan_out = outputs * prod(shape[2:])
    squares: dict[Init, float] = {
        "kaiming_fan_in": 6 / fan_in,
        "kaiming_fan_out": 6 / outputs,
        "glorot": 6 / (fan_in + fan_out),
        "torch": 1 / fan_in,
    }
    return sqrt(squares[init])


def draw_bias(bias: Tensor | None, init: Init, bound: float, generator: torch.Generator) -> None:
    """Draw a layer's bias in place, if it has one: zeros, or as its weight in ``torch``."""
    if bias is None:
        return
    if init == "torch":
        bias.uniform_(-bound, bound, generator=generator)
    else:
        bias.zero_()
