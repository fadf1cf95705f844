"""Chains of common layers, differentiated by hand: several models at once, without autograd.

On small models PyTorch's time goes into launching operators, into its max-pooling and into copies
of gradients. Here a whole step is some twenty operators, images lie with the batch innermost, and
plain SGD is part of the matrix product that makes the gradient. A model's bits do not depend on who
is beside it in the stack.
"""

from __future__ import annotations

from typing import Final, TypeGuard

import torch
from torch import Tensor, nn

from simfl.learning.layers import Conv, Flatten, Layer, Linear, MaxPool, ReLU, Views, aligned
from simfl.learning.network import Loss

_EVALUATED: Final = 500
_FEW_CHANNELS: Final = 128  # in x out; with more, a matrix product is faster than rows
_ROW_SIDES: Final = (3, 5)


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
        self._images = isinstance(next(iter(module)), nn.Conv2d)
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
        self.packed, self._gradient = (aligned(models, size, self._device) for _ in range(2))
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


def _layers(module: nn.Sequential, *, by_rows: bool) -> list[Layer]:
    small = [name for name, layer in module.named_children() if by_rows and _is_small(layer)]
    if small:
        # compiled code takes a second to load: only where it is used
        from simfl.learning.row_layers import RowConv
    found: list[Layer] = []
    for name, layer in module.named_children():
        if isinstance(layer, nn.Linear):
            found.append(Linear(name, first=not found))
        elif isinstance(layer, nn.Conv2d):
            kind = RowConv if name in small else Conv
            found.append(kind(name, layer, first=not found))
        elif isinstance(layer, nn.MaxPool2d):
            # ReLU after pooling is the same, on a quarter of the entries
            before = found.pop() if isinstance(found[-1], ReLU) else None
            found.append(MaxPool())
            found += [before] if before else []
        elif isinstance(layer, nn.ReLU):
            found.append(ReLU())
        elif found:
            found.append(Flatten())
    return found


def _is_small(layer: nn.Module) -> bool:
    """Whether rows are faster than a matrix product."""
    if not isinstance(layer, nn.Conv2d) or layer.kernel_size[0] not in _ROW_SIDES:
        return False
    return layer.in_channels * layer.out_channels <= _FEW_CHANNELS


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
