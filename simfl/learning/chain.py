"""Chains of common layers, differentiated by hand: several models at once, without autograd.

On small models PyTorch's time goes into launching operators, into its max-pooling and into copies
of gradients. Here a whole step is some twenty operators, images lie with the batch innermost (so
that pooling, shifting and im2col run along contiguous memory), and plain SGD is part of the matrix
product that makes the gradient. Every operator treats each model of the stack alone: a model's
bits do not depend on who is beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, Final, TypeGuard

import torch
from torch import Tensor, nn

from simfl.learning.network import Loss

_EVALUATED: Final = 500
_SHAPES: Final = 16
_BORDER: Final = 16  # numbers: 64 bytes
_FEW_CHANNELS: Final = 128  # in x out; with more, a matrix product is faster than rows
_ROW_SIDES: Final = (3, 5)
Views = Mapping[str, Tensor]


class _Layer:
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
            self._scratch[key] = _aligned(shape[0], prod(shape[1:]), like.device).view(*shape)
        return self._scratch[key]

    def _matrices(self, name: str, x: Tensor) -> Tensor:
        """Matrices as they are, if they lie as `_aligned` would lay them, else a copy that does."""
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


class _Linear(_Layer):
    def __init__(self, name: str, *, first: bool) -> None:
        super().__init__()
        self._weight_name, self._bias_name = f"{name}.weight", f"{name}.bias"
        self._first = first

    def bind(self, weights: Views, targets: Views) -> None:
        self._weight, self._bias = weights[self._weight_name], weights[self._bias_name].unsqueeze(1)
        self._to_weight, self._to_bias = targets[self._weight_name], targets[self._bias_name]

    def forward(self, x: Tensor) -> Tensor:
        self._x = self._matrices("x", x)
        return torch.bmm(self._x, self._weight.mT).add_(self._bias)

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        g = self._matrices("g", g)
        # before the weight changes: its gradient may go straight into it
        out = g if self._first else torch.bmm(g, self._weight)
        self._to_weight.baddbmm_(g.mT, self._x, beta=keep, alpha=scale)
        _into(self._to_bias, g.sum(1), keep, scale)
        return out


class _Conv(_Layer):
    """A convolution by im2col and one matrix product, stride 1."""

    def __init__(self, name: str, module: nn.Conv2d, *, first: bool) -> None:
        super().__init__()
        self._weight_name, self._bias_name = f"{name}.weight", f"{name}.bias"
        self._pad = int(module.padding[0])
        self._size = module.kernel_size[0]
        self._first = first

    def bind(self, weights: Views, targets: Views) -> None:
        self._weight = weights[self._weight_name].flatten(2)
        self._bias = weights[self._bias_name].unsqueeze(2)
        self._to_weight = targets[self._weight_name].flatten(2)
        self._to_bias = targets[self._bias_name]

    def forward(self, x: Tensor) -> Tensor:
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
        g = self._matrices("g", g.reshape(len(g), -1, self._columns.shape[2]))
        out = g if self._first else self._by_input(g)
        # the wide operand first: twice as fast as g x columns'
        _into(self._to_weight, torch.bmm(self._columns, g.mT).mT, keep, scale)
        _into(self._to_bias, g.sum(2), keep, scale)
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


class _RowConv(_Layer):
    """A convolution of few channels by rows, in compiled code, stride 1."""

    def __init__(self, name: str, module: nn.Conv2d, *, first: bool) -> None:
        # compiled code takes a second to load: only where it is used
        from simfl.learning import rows

        super().__init__()
        self._rows = rows
        self._weight_name, self._bias_name = f"{name}.weight", f"{name}.bias"
        self._pad, self._size = int(module.padding[0]), module.kernel_size[0]
        self._first = first

    def bind(self, weights: Views, targets: Views) -> None:
        self._weight, self._bias = weights[self._weight_name], weights[self._bias_name]
        self._to_weight, self._to_bias = targets[self._weight_name], targets[self._bias_name]

    def forward(self, x: Tensor) -> Tensor:
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
            self._rows.forward(image, weight, bias, batch, into)
        return out

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        g, batch = g.reshape(self._shape), self._shape[4]
        out = g if self._first else self._by_input(g)
        by_weight = self._memory("by weight", self._weight.shape, g)
        for image, by_output, into in _parts(self._padded.flatten(3), g.flatten(3), by_weight):
            self._rows.by_weight(image, by_output, batch, into)
        _into(self._to_weight, by_weight, keep, scale)
        _into(self._to_bias, g.flatten(2).sum(2), keep, scale)
        return out

    def _by_input(self, g: Tensor) -> Tensor:
        less, pad, (*some, wide, batch) = self._size - 1, self._pad, self._shape
        # only its inside is ever written
        widened = self._memory("widened", (*some, wide + 2 * less, batch), g)
        widened[:, :, :, less : less + wide].copy_(g)
        out = self._memory("by input", self._padded.shape, g)
        for by_output, weight, into in _parts(widened.flatten(3), self._weight, out.flatten(3)):
            self._rows.by_input(by_output, weight, batch, into)
        high, width = out.shape[2:4]
        return out[:, :, pad : high - pad, pad : width - pad]


def _parts(*stacks: Tensor) -> Iterator[tuple[Any, ...]]:
    """Model by model, for compiled code, the part of each stack that is its own."""
    return zip(*([part.numpy() for part in stack] for stack in stacks), strict=True)


class _ReLU(_Layer):
    def forward(self, x: Tensor) -> Tensor:
        self._y = x.relu_()
        return self._y

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        return _where_positive(g, self._y, out=g)


class _MaxPool(_Layer):
    """2 x 2 windows, side by side; a remainder at the edge is left out, as PyTorch does."""

    def forward(self, x: Tensor) -> Tensor:
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
        torch.sub(g, _where_positive(g, more, out=to_b), out=to_a)

    def _columns(self, images: Tensor) -> tuple[Tensor, Tensor]:
        high, wide = self._inside
        images = images[:, :, high, wide]
        return images[:, :, :, 0::2], images[:, :, :, 1::2]


def _rows(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[:, :, 0::2], images[:, :, 1::2]


class _Flatten(_Layer):
    """From images with the batch innermost to rows of features."""

    def forward(self, x: Tensor) -> Tensor:
        self._shape = x.shape
        return x.flatten(1, 3).mT.contiguous()

    def backward(self, g: Tensor, keep: float, scale: float) -> Tensor:
        return g.mT.contiguous().view(self._shape)


class ChainNetwork:
    """A `Network` for chains of linear layers, convolutions, ReLU and 2 x 2 max-pooling.

    Args:
        module: a chain that `is_chain` accepts.
        device: where its tensors lie.
    """

    widest = 1 << 30

    def __init__(self, module: nn.Sequential, device: torch.device | str = "cpu") -> None:
        parameters = dict(module.named_parameters())
        self._shapes = {name: tuple(p.shape) for name, p in parameters.items()}
        self._sizes = [p.numel() for p in parameters.values()]
        self._layers = _layers(module, by_rows=torch.device(device).type == "cpu")
        self._images = isinstance(self._layers[0], _Conv | _RowConv)
        self._device = device
        self._make(1)

    def load(self, flats: list[Tensor]) -> None:
        """Take models' values."""
        if len(flats) != len(self.packed):
            self._make(len(flats))
        for row, flat in zip(self.packed, flats, strict=True):
            row.copy_(flat)

    def seed(self, seed: int) -> None:
        """Nothing is drawn."""

    def logits(self, inputs: Tensor) -> Tensor:
        """Forward passes over parts of the batch, to keep im2col in bounds."""
        parts = [self._forward(part.unsqueeze(0))[0] for part in inputs.split(_EVALUATED)]
        return torch.cat(parts)

    def gradient(self, inputs: Tensor, targets: Tensor, loss: Loss, *, add: bool) -> Tensor:
        """By hand, layer by layer."""
        self._bind(self._to_gradient)
        self._backward(inputs, targets, loss, keep=1.0 if add else 0.0, scale=1.0)
        return self._gradient

    def descend(self, inputs: Tensor, targets: Tensor, loss: Loss, rate: float) -> None:
        """The matrix products that make the gradient subtract it."""
        self._bind(self._to_weights)
        self._backward(inputs, targets, loss, keep=1.0, scale=-rate)

    def _make(self, models: int) -> None:
        """Room for so many models."""
        size = sum(self._sizes)
        self.packed, self._gradient = (_aligned(models, size, self._device) for _ in range(2))
        self.weights = self.packed
        self._to_weights, self._to_gradient = self._views(self.packed), self._views(self._gradient)
        self._bound: Views | None = None
        self._bind(self._to_weights)

    def _views(self, packed: Tensor) -> Views:
        parts = zip(self._shapes.items(), packed.split(self._sizes, 1), strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in parts}

    def _bind(self, targets: Views) -> None:
        if self._bound is not targets:
            self._bound = targets
            for layer in self._layers:
                layer.bind(self._to_weights, targets)

    def _forward(self, inputs: Tensor) -> Tensor:
        x = inputs.permute(0, 2, 3, 4, 1) if self._images else inputs.flatten(2)
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def _backward(
        self, inputs: Tensor, targets: Tensor, loss: Loss, *, keep: float, scale: float
    ) -> None:
        g = _by_output(loss, self._forward(inputs), targets)
        for layer in reversed(self._layers):
            g = layer.backward(g, keep, scale)


def is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether `ChainNetwork` can stand for the module."""
    if not isinstance(module, nn.Sequential) or not len(module):
        return False
    layers = list(module)
    flat = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten)]
    if len(flat) != 1 or not isinstance(layers[-1], nn.Linear):
        return False
    images, rows = layers[: flat[0]], layers[flat[0] + 1 :]
    if images and not isinstance(images[0], nn.Conv2d):
        return False
    return all(map(_is_image_layer, images)) and all(map(_is_row_layer, rows))


def _is_row_layer(layer: nn.Module) -> bool:
    return type(layer) is nn.ReLU or (type(layer) is nn.Linear and layer.bias is not None)


def _is_image_layer(layer: nn.Module) -> bool:
    if type(layer) is nn.MaxPool2d:
        window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
        return window == (2, 2, 0, 1, False)
    if type(layer) is not nn.Conv2d:
        return type(layer) is nn.ReLU
    square = layer.kernel_size[0] == layer.kernel_size[1]
    padding = isinstance(layer.padding, tuple) and layer.padding[0] == layer.padding[1]
    plain = layer.stride == (1, 1) and layer.dilation == (1, 1) and layer.groups == 1
    return square and padding and plain and layer.bias is not None and layer.padding_mode == "zeros"


def _layers(module: nn.Sequential, *, by_rows: bool) -> list[_Layer]:
    found: list[_Layer] = []
    for name, layer in module.named_children():
        if isinstance(layer, nn.Linear):
            found.append(_Linear(name, first=not found))
        elif isinstance(layer, nn.Conv2d):
            small = layer.in_channels * layer.out_channels <= _FEW_CHANNELS
            rows = by_rows and small and layer.kernel_size[0] in _ROW_SIDES
            found.append((_RowConv if rows else _Conv)(name, layer, first=not found))
        elif isinstance(layer, nn.MaxPool2d):
            # ReLU after pooling is the same, on a quarter of the entries
            before = found.pop() if isinstance(found[-1], _ReLU) else None
            found.append(_MaxPool())
            found += [before] if before else []
        elif isinstance(layer, nn.ReLU):
            found.append(_ReLU())
        elif found:
            found.append(_Flatten())
    return found


def _by_output(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """The gradient of each model's mean loss by its logits, (models, samples, classes)."""
    _, samples, classes = output.shape
    if loss == "bce_with_logits":
        # model by model: where an entry lies among others decides the last bit of its exponential
        for one in output:
            one.sigmoid_()
        return output.sub_(targets).div_(samples * classes)
    g = output.softmax(2)
    # minus one at the target's class
    g.scatter_add_(2, targets.unsqueeze(2), g.new_full((), -1.0).expand(*targets.shape, 1))
    return g.div_(samples)


def _where_positive(g: Tensor, x: Tensor, *, out: Tensor) -> Tensor:
    """``g`` where x > 0, else 0."""
    torch.ops.aten.threshold_backward.grad_input(g, x, 0, grad_input=out)
    return out


def _aligned(models: int, size: int, device: torch.device | str) -> Tensor:
    """Zeros, (models, size), of which every row begins on a border of memory.

    Matrix products may take another path, with other last bits, where a matrix lies askew.
    """
    width = -(-size // _BORDER) * _BORDER
    return torch.zeros(models, width, device=device)[:, :size]


def _into(target: Tensor, gradient: Tensor, keep: float, scale: float) -> None:
    """``target = keep * target + scale * gradient``; a kept factor is 0 or 1."""
    if keep:
        target.add_(gradient, alpha=scale)
    else:
        torch.mul(gradient, scale, out=target)
