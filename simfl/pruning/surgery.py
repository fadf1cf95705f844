"""Cutting channels out of a network: what is left is a smaller dense one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from simfl.pruning.channels import Axis, Channels
from simfl.tensors import Masks, NamedTensors


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


def without_unread(
    tensors: NamedTensors, masks: Masks, channels: Channels
) -> tuple[NamedTensors, Masks]:
    """The network without channels that no layer reads any more, and its masks.

    The function stays the same, whatever makes these channels. Of each group at least one stays.

    Args:
        tensors: zero where the masks are.
        masks: over them.
        channels: of the network.
    """
    while kept := _read(masks, channels):
        tensors = cut(tensors, channels, kept)
        left = cut(NamedTensors(masks.layout, masks.flat), channels, kept)
        masks = Masks(left.layout, left.flat)
    return tensors, masks


def _read(masks: Masks, channels: Channels) -> dict[int, Tensor]:
    """By group, the channels that some layer reads; groups of which all stay are left out."""
    shapes = masks.layout.shape_of
    read: dict[int, Tensor] = {}
    for name, axes in channels.axes.items():
        if 1 not in axes:
            continue
        columns = masks.views[name].transpose(0, 1).flatten(1).any(1)
        start = 0
        for segment in axes[1]:
            width = channels.width(segment.group, shapes)
            span = columns[start : start + width * segment.repeat]
            start += len(span)
            found = span.view(width, segment.repeat).any(1)
            read[segment.group] = read.get(segment.group, torch.zeros_like(found)) | found
    kept = {}
    for group, found in read.items():
        if not channels.groups[group].whole and not found.all() and len(found) > 1:
            kept[group] = found.nonzero()[:, 0] if found.any() else torch.tensor([0])
    return kept


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
