"""Cutting channels out of a network: what is left is a smaller dense one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from simfl.pruning.channels import Axis, Channels
from simfl.tensors import NamedTensors


def cut(tensors: NamedTensors, channels: Channels, kept: Mapping[int, Tensor]) -> NamedTensors:
    """The network without some of its channels; with them go all weights that make or read them.

    Where what is cut is zero (a filter with its bias, or scale and shift after it), the function
    stays the same.

    Args:
        tensors: of the network, at any widths.
        channels: of the same network.
        kept: by group, positions of the channels that stay, int64, sorted; groups left out stay
            whole.
    """
    shapes = tensors.layout.shape_of
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        left = tensor
        for dim, axis in channels.axes.get(name, {}).items():
            if any(segment.group in kept for segment in axis):
                left = left.index_select(dim, _entries(axis, channels, kept, shapes))
        found[name] = left
    return NamedTensors.pack(found)


def _entries(
    axis: Axis,
    channels: Channels,
    kept: Mapping[int, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
) -> Tensor:
    """Positions along an axis that stay."""
    parts, start = [], 0
    for segment in axis:
        width = channels.width(segment.group, shapes)
        stay = kept.get(segment.group, torch.arange(width))
        positions = stay[:, None] * segment.repeat + torch.arange(segment.repeat)
        parts.append(start + positions.reshape(-1))
        start += width * segment.repeat
    return torch.cat(parts)
