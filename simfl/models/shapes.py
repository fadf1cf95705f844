"""The same network with other widths: what is left after channels were cut out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from simfl.models.base import Architecture
from simfl.models.count import declare
from simfl.tensors import Layout

Shapes = Mapping[str, tuple[int, ...]]


def shaped(architecture: Architecture, layout: Layout) -> Architecture:
    """The architecture with tensors of these shapes; its operations are counted anew.

    Args:
        architecture: of any model.
        layout: names as in the architecture's own, shapes of as many dimensions.

    Raises:
        CostError: the network does not run with such shapes.
    """
    return declare(
        architecture.name,
        _Shaped(architecture, layout),
        architecture.options,
        classes=architecture.classes,
        sample_shape=architecture.sample_shape,
    )


@dataclass(frozen=True, slots=True)
class _Shaped:
    """Builds the network, then changes its shapes; can be pickled."""

    original: Architecture
    layout: Layout

    def __call__(self) -> nn.Module:
        module = self.original.build()
        reshape(module, self.layout.shape_of)
        return module


def reshape(module: nn.Module, shapes: Shapes) -> None:
    """Give a module's parameters and buffers other shapes, in place; values are then undefined.

    Args:
        module: of any layers; linear ones, convolutions and batch normalisation are told of their
            new widths.
        shapes: by the names of parameters and buffers; those left out stay as they are.

    >>> layer = nn.Linear(4, 3)
    >>> reshape(layer, {"weight": (2, 4), "bias": (2,)})
    >>> layer
    Linear(in_features=4, out_features=2, bias=True)
    """
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, shape in shapes.items():
        tensor = held[name]
        if tuple(tensor.shape) == tuple(shape):
            continue
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        empty = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(owner, leaf, nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty)
    for layer in module.modules():
        _tell(layer)


def _tell(layer: nn.Module) -> None:
    """A layer's own record of its widths."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.Conv2d):
        layer.out_channels, channels = layer.weight.shape[:2]
        if layer.groups > 1 and channels == 1:
            layer.groups = layer.out_channels  # a filter for each channel
        layer.in_channels = channels * layer.groups
    elif isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
        layer.num_features = len(layer.weight)
