"""Convolution of few channels by rows, in compiled code; on the CPU alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from simfl.learning import rows
from simfl.learning.layers import Layer, Views, add_into


class RowConv(Layer):
    """A convolution of few channels by rows, in compiled code, stride 1."""

    def __init__(self, name: str, module: nn.Conv2d, *, first: bool) -> None:
        super().__init__()
        self._weight_name, self._bias_name = f"{name}.weight", f"{name}.bias"
        self._pad, self._size = int(module.padding[0]), module.kernel_size[0]
        self._first = first

    def bind(self, weights: Views, targets: Views) -> None:
        """Its own among them."""
        self._weight, self._bias = weights[self._weight_name], weights[self._bias_name]
        self._to_weight, self._to_bias = targets[self._weight_name], targets[self._bias_name]

    def forward(self, x: Tensor) -> Tensor:
        """As PyTorch has it."""
        models, channels, height, width, batch = x.shape
        pad, less = self._pad, self._size - 1
        high, wide = height + 2 * pad, width + 2 * pad
        # only its inside is ever written
        padded = self._memory("padded", (models, channels, high, wide, batch), x)
        padded[:, :, pad : pad + height, pad : pad + width].copy_(x)
        shape = (models, self._weight.shape[1], high - less, wide - less, batch)
        out = self._memory("out", shape, x)
        self._padded, self._shape = padded, shape
        stacks = padded.flatten(3), self._weight, self._bias, out.flatten(3)
        for image, weight, bias, into in _parts(*stacks):
            rows.forward(image, weight, bias, batch, into)
        return out

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """As `Layer` says."""
        g, batch = g.reshape(self._shape), self._shape[4]
        out = g if self._first else self._by_input(g)
        by_weight = self._memory("by weight", self._weight.shape, g)
        for image, by_output, into in _parts(self._padded.flatten(3), g.flatten(3), by_weight):
            rows.by_weight(image, by_output, batch, into)
        add_into(self._to_weight, by_weight, keep, scale)
        add_into(self._to_bias, g.flatten(2).sum(2), keep, scale)
        return out

    def _by_input(self, g: Tensor) -> Tensor:
        less, pad, (*some, wide, batch) = self._size - 1, self._pad, self._shape
        # only its inside is ever written
        widened = self._memory("widened", (*some, wide + 2 * less, batch), g)
        widened[:, :, :, less : less + wide].copy_(g)
        out = self._memory("by input", self._padded.shape, g)
        for by_output, weight, into in _parts(widened.flatten(3), self._weight, out.flatten(3)):
            rows.by_input(by_output, weight, batch, into)
        high, width = out.shape[2:4]
        return out[:, :, pad : high - pad, pad : width - pad]


def _parts(*stacks: Tensor) -> Iterator[tuple[Any, ...]]:
    """Model by model, for compiled code, the part of each stack that is its own."""
    return zip(*([part.numpy() for part in stack] for stack in stacks), strict=True)
