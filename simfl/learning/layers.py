"""Layers of chains, differentiated by hand, over a stack of models.

Every operator treats each model of the stack alone. Batches are (models, samples, features), or
(models, channels, height, width, samples): with the batch innermost, pooling, shifting and im2col
run along contiguous memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import torch
from torch import Tensor, nn

_SHAPES: Final = 16
_BORDER: Final = 16  # numbers: 64 bytes
Views = Mapping[str, Tensor]


class Layer:
    """One layer, over a stack of models; it keeps what its backward pass needs.

    Batches are (models, samples, features), or (models, channels, height, width, samples).
    """

    def __init__(self) -> None:
        self._scratch: dict[tuple[str, torch.Size], Tensor] = {}

    def _memory(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """Memory kept from step to step: fresh pages cost more than what is computed in them.

        Zeros when it is made; after that, what the last step left.
        """
        key = name, torch.Size(shape)
        if key not in self._scratch:
            if len(self._scratch) >= _SHAPES:
                self._scratch.clear()
            self._scratch[key] = aligned(shape[0], prod(shape[1:]), like.device).view(*shape)
        return self._scratch[key]

    def _matrices(self, name: str, x: Tensor) -> Tensor:
        """Matrices as they are, if they lie as `aligned` would lay them, else a copy that does."""
        models, _, columns = x.shape
        lies = x.stride()[1:] == (columns, 1) and (models == 1 or x.stride(0) % _BORDER == 0)
        if lies and x.data_ptr() % (4 * _BORDER) == 0:
            return x
        return self._memory(name, x.shape, x).copy_(x)

    def bind(self, weights: Views, targets: Views) -> None:
        """Take the parameters to use, and where their gradients go."""

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        raise NotImplementedError

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """The gradient by the input; targets become ``keep * target + scale * gradient``."""
        raise NotImplementedError


class Linear(Layer):
    """A matrix product and a bias."""

    def __init__(self, name: str, *, first: bool) -> None:
        super().__init__()
        self._weight_name, self._bias_name = f"{name}.weight", f"{name}.bias"
        self._first = first

    def bind(self, weights: Views, targets: Views) -> None:
        """Its own among them."""
        self._weight, self._bias = weights[self._weight_name], weights[self._bias_name].unsqueeze(1)
        self._to_weight, self._to_bias = targets[self._weight_name], targets[self._bias_name]

    def forward(self, x: Tensor) -> Tensor:
        """As PyTorch has it."""
        self._x = self._matrices("x", x)
        return torch.bmm(self._x, self._weight.mT).add_(self._bias)

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """As `Layer` says."""
        g = self._matrices("g", g)
        # before the weight changes: its gradient may go straight into it
        out = g if self._first else torch.bmm(g, self._weight)
        self._to_weight.baddbmm_(g.mT, self._x, beta=keep, alpha=scale)
        add_into(self._to_bias, g.sum(1), keep, scale)
        return out


class Conv(Layer):
    """A convolution by im2col and one matrix product, stride 1."""

    def __init__(self, name: str, module: nn.Conv2d, *, first: bool) -> None:
        super().__init__()
        self._weight_name, self._bias_name = f"{name}.weight", f"{name}.bias"
        self._pad = int(module.padding[0])
        self._size = module.kernel_size[0]
        self._first = first

    def bind(self, weights: Views, targets: Views) -> None:
        """Its own among them."""
        self._weight = weights[self._weight_name].flatten(2)
        self._bias = weights[self._bias_name].unsqueeze(2)
        self._to_weight = targets[self._weight_name].flatten(2)
        self._to_bias = targets[self._bias_name]

    def forward(self, x: Tensor) -> Tensor:
        """As PyTorch has it."""
        models, channels, height, width, batch = x.shape
        pad, size = self._pad, self._size
        high, wide = height + 2 * pad, width + 2 * pad
        # only its inside is ever written
        padded = self._memory("padded", (models, channels, high, wide, batch), x)
        padded[:, :, pad : pad + height, pad : pad + width].copy_(x)
        self._out = high - size + 1, wide - size + 1
        windows = padded.unfold(2, size, 1).unfold(3, size, 1).permute(0, 1, 5, 6, 2, 3, 4)
        columns = self._memory("columns", windows.shape, x)
        columns.copy_(windows)
        self._columns = columns.view(models, channels * size * size, -1)
        self._in = padded.shape
        shape = (models, self._weight.shape[1], self._columns.shape[2])
        out = torch.bmm(self._weight, self._columns, out=self._memory("out", shape, x))
        return out.add_(self._bias).view(models, -1, *self._out, batch)

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """As `Layer` says."""
        g = self._matrices("g", g.reshape(len(g), -1, self._columns.shape[2]))
        out = g if self._first else self._by_input(g)
        # the wide operand first: twice as fast as g x columns'
        add_into(self._to_weight, torch.bmm(self._columns, g.mT).mT, keep, scale)
        add_into(self._to_bias, g.sum(2), keep, scale)
        return out

    def _by_input(self, g: Tensor) -> Tensor:
        """Col2im: every window adds to the pixels that it was taken from."""
        size, (high, wide), shape = self._size, self._out, self._in
        columns = self._memory("by columns", self._columns.shape, g)
        torch.bmm(self._weight.mT, g, out=columns)
        windows = columns.view(*shape[:2], size, size, high, wide, shape[4])
        out = self._memory("by input", shape, g).zero_()
        for i in range(size):
            for j in range(size):
                out[:, :, i : i + high, j : j + wide].add_(windows[:, :, i, j])
        pad = self._pad
        return out[:, :, pad : shape[2] - pad, pad : shape[3] - pad]


class ReLU(Layer):
    """In place."""

    def forward(self, x: Tensor) -> Tensor:
        """As PyTorch has it."""
        self._y = x.relu_()
        return self._y

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """As `Layer` says."""
        return where_positive(g, self._y, out=g)


class MaxPool(Layer):
    """2 x 2 windows, side by side; a remainder at the edge is left out, as PyTorch does."""

    def forward(self, x: Tensor) -> Tensor:
        """As PyTorch has it."""
        models, channels, height, width, batch = self._shape = x.shape
        high, wide = height // 2, width // 2
        self._inside = slice(2 * high), slice(2 * wide)
        row = self._memory("row", (models, channels, 2 * high, wide, batch), x)
        self._left, self._right = self._columns(x)
        torch.maximum(self._left, self._right, out=row)
        self._upper, self._lower = _rows(row)
        out = self._memory("out", (models, channels, high, wide, batch), x)
        return torch.maximum(self._upper, self._lower, out=out)

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """As `Layer` says."""
        # among equals the first in reading order gets the gradient, as in PyTorch
        high, wide = (part.stop for part in self._inside)
        row = self._memory("by row", (*self._shape[:2], high, wide // 2, self._shape[4]), g)
        self._split(g, self._upper, self._lower, *_rows(row))
        out = self._memory("by input", self._shape, g)
        self._split(row, self._left, self._right, *self._columns(out))
        return out

    def _split(self, g: Tensor, a: Tensor, b: Tensor, to_a: Tensor, to_b: Tensor) -> None:
        """Each entry of ``g`` to ``b`` where b > a, else to ``a``."""
        more = torch.sub(b, a, out=self._memory("difference", g.shape, g))
        torch.sub(g, where_positive(g, more, out=to_b), out=to_a)

    def _columns(self, images: Tensor) -> tuple[Tensor, Tensor]:
        high, wide = self._inside
        images = images[:, :, high, wide]
        return images[:, :, :, 0::2], images[:, :, :, 1::2]


def _rows(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[:, :, 0::2], images[:, :, 1::2]


class Flatten(Layer):
    """From images with the batch innermost to rows of features."""

    def forward(self, x: Tensor) -> Tensor:
        """As PyTorch has it."""
        self._shape = x.shape
        return x.flatten(1, 3).mT.contiguous()

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        """As `Layer` says."""
        return g.mT.contiguous().view(self._shape)


def where_positive(g: Tensor, x: Tensor, *, out: Tensor) -> Tensor:
    """``g`` where x > 0, else 0."""
    torch.ops.aten.threshold_backward.grad_input(g, x, 0, grad_input=out)
    return out


def aligned(models: int, size: int, device: torch.device | str) -> Tensor:
    """Zeros, (models, size), of which every row begins on a border of memory.

    Matrix products may take another path, with other last bits, where a matrix lies askew.
    """
    width = -(-size // _BORDER) * _BORDER
    return torch.zeros(models, width, device=device)[:, :size]


def add_into(target: Tensor, gradient: Tensor, keep: float, scale: float) -> None:
    """``target = keep * target + scale * gradient``; a kept factor is 0 or 1."""
    if keep:
        target.add_(gradient, alpha=scale)
    else:
        torch.mul(gradient, scale, out=target)
