"""What is measured: small pieces of training, as plain data, and the modules of them.

Python and PyTorch only: goes to a board with `bench.py`, as one file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

Case = dict[str, Any]
Layers = list[list[Any]]


class Twice(nn.Module):
    """A shortcut's addition: forward x + x; backward the two gradients are added."""

    def forward(self, x: Tensor) -> Tensor:
        """Twice the input."""
        return x + x


class Beside(nn.Module):
    """A concatenation of channels."""

    def forward(self, x: Tensor) -> Tensor:
        """The input beside itself."""
        return torch.cat((x, x), 1)


class SparseLinear(nn.Module):
    """A linear layer whose weight is held sparse; backward gives the stored entries' gradients.

    Args:
        layout: ``coo`` or ``csr``.
        n_in: inputs.
        n_out: outputs.
        density: share of the entries that are stored, at random places.
    """

    def __init__(self, layout: str, n_in: int, n_out: int, density: float) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        weight = torch.randn(n_out, n_in, generator=drawn) * n_in**-0.5
        weight *= torch.rand(n_out, n_in, generator=drawn) < density
        weight[0, 0] = 1.0
        with warnings.catch_warnings():
            # compressed rows are in beta, says PyTorch, once
            warnings.simplefilter("ignore")
            held = weight.to_sparse_csr() if layout == "csr" else weight.to_sparse_coo().coalesce()
        self.weight = nn.Parameter(held)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """As a linear layer's."""
        out: Tensor = torch.sparse.mm(self.weight, x.t()).t() + self.bias
        return out


def _masked(layer: nn.Module, density: float) -> nn.Module:
    prune.random_unstructured(layer, "weight", 1 - density)  # type: ignore[no-untyped-call]
    return layer


def _conv(
    n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = True
) -> nn.Module:
    return nn.Conv2d(
        n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups, bias=bool(bias)
    )


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "linear": nn.Linear,
    "conv": _conv,
    "relu": nn.ReLU,
    "norm": nn.BatchNorm2d,
    "maxpool": nn.MaxPool2d,
    "avgpool": nn.AvgPool2d,
    "mean": lambda: nn.AdaptiveAvgPool2d(1),
    "flatten": nn.Flatten,
    "twice": Twice,
    "beside": Beside,
    "masked_linear": lambda n_in, n_out, density: _masked(nn.Linear(n_in, n_out), density),
    "masked_conv": lambda n_in, n_out, kernel, density: _masked(
        _conv(n_in, n_out, kernel), density
    ),
    "coo": lambda n_in, n_out, density: SparseLinear("coo", n_in, n_out, density),
    "csr": lambda n_in, n_out, density: SparseLinear("csr", n_in, n_out, density),
}


def build(case: Case) -> nn.Module:
    """The module of a case; what its weights are changes no time.

    Raises:
        KeyError: a layer that this file does not know.
    """
    return nn.Sequential(*(LAYERS[word](*args) for word, *args in case["layers"]))


def _sizes(layers: Layers, shape: list[int], batches: list[int], **more: Any) -> list[Case]:
    return [{"layers": layers, "input": shape, "batch": b, **more} for b in batches]


def cases() -> list[Case]:
    """All that is measured: small first."""
    return [
        *_linear_cases(),
        *_conv_cases(),
        *_elementwise_cases(),
        *_chain_cases(),
        *_network_cases(),
        *_held_cases(),
    ]


def _linear_cases() -> list[Case]:
    sides = [(64, 64), (256, 256), (784, 300), (1024, 1024), (2048, 2048), (4096, 4096)]
    found: list[Case] = []
    for n_in, n_out in sides:
        found += _sizes([["linear", n_in, n_out]], [n_in], [1, 16, 128])
    return found


def _conv_cases() -> list[Case]:
    found: list[Case] = []
    # as a network's first layer: nothing asks for the gradient of its input
    for n_in, n_out, kernel, stride, side, batches in [
        (1, 8, 5, 1, 28, [1, 32]),
        (1, 32, 3, 1, 28, [1, 32]),
        (3, 32, 3, 1, 32, [1, 32]),
        (3, 64, 5, 1, 32, [1, 16]),
        (3, 64, 7, 2, 64, [1, 16]),
    ]:
        layers = [["conv", n_in, n_out, kernel, stride]]
        found += _sizes(layers, [n_in, side, side], batches, first=True)
    for n_in, n_out, kernel, stride, side, batches in [
        (8, 8, 3, 1, 28, [2, 32]),
        (8, 16, 5, 1, 14, [1, 2, 32]),
        (16, 32, 1, 1, 28, [2, 32]),
        (16, 32, 3, 2, 32, [2, 32]),
        (32, 32, 3, 1, 32, [2, 16]),
        (32, 64, 5, 1, 14, [1, 2, 32]),
        (32, 128, 1, 1, 16, [1, 4, 32]),
        (64, 64, 3, 1, 16, [1, 2, 8, 32]),
        (128, 32, 1, 1, 16, [1, 32]),
        (128, 128, 3, 1, 8, [1, 2, 8, 32]),
        (128, 256, 3, 2, 16, [1, 16]),
        (256, 256, 3, 1, 4, [1, 2, 16, 64]),
        (256, 256, 1, 1, 8, [1, 2, 32]),
        (256, 256, 3, 1, 1, [2, 64]),
        (512, 512, 3, 1, 2, [1, 2, 8, 64]),
        # widths that fill no block of channels, as pruning leaves them
        (12, 20, 3, 1, 28, [2, 32]),
        (20, 44, 5, 1, 14, [2, 32]),
        (40, 24, 3, 1, 14, [2, 32]),
        (72, 56, 3, 1, 8, [2, 32]),
        # one small sample, few filters: its unfolding takes as long as the product
        (16, 4, 3, 1, 28, [1]),
        (32, 12, 3, 1, 14, [1]),
        (48, 80, 3, 1, 10, [1]),
    ]:
        layers = [["conv", n_in, n_out, kernel, stride]]
        found += _sizes(layers, [n_in, side, side], batches)
    for channels, side, stride in [(32, 32, 1), (128, 16, 2), (256, 8, 1)]:
        layers = [["conv", channels, channels, 3, stride, channels]]
        found += _sizes(layers, [channels, side, side], [2, 32])
    return found


def _elementwise_cases() -> list[Case]:
    found: list[Case] = []
    words: Layers = [["relu"], ["norm", 64], ["maxpool", 2], ["avgpool", 2], ["twice"], ["beside"]]
    for layer in words:
        found += _sizes([layer], [64, 32, 32], [2, 32, 192])
    found += _sizes([["maxpool", 3, 1, 1]], [32, 16, 16], [2, 32])
    return found + _sizes([["mean"]], [256, 4, 4], [32])


def _chain_cases() -> list[Case]:
    found: list[Case] = []
    for depth in (2, 8, 24):
        layers: Layers = [["linear", 32, 32], ["relu"]] * depth
        found += _sizes(layers, [32], [1, 8], loss="cross_entropy")
    for depth in (2, 8):
        block: Layers = [["conv", 8, 8, 3, 1, 1, 0], ["norm", 8], ["relu"]]
        layers = [*block * depth, ["mean"], ["flatten"]]
        found += _sizes(layers, [8, 8, 8], [2, 8], loss="cross_entropy")
    # weights and activations that no cache keeps until they are wanted again
    found += _sizes([["linear", 2048, 2048], ["relu"]] * 5, [2048], [1, 16], loss="cross_entropy")
    wide: Layers = [["conv", 384, 384, 3], ["relu"]] * 4
    found += _sizes([*wide, ["mean"], ["flatten"]], [384, 4, 4], [2, 16], loss="cross_entropy")
    long: Layers = [["conv", 32, 32, 3, 1, 1, 0], ["norm", 32], ["relu"]] * 6
    found += _sizes([*long, ["mean"], ["flatten"]], [32, 32, 32], [32], loss="cross_entropy")
    return found


def _network_cases() -> list[Case]:
    """Small networks of many sorts of layers: nothing is as warm as in a loop of its own."""
    relu: list[Any] = ["relu"]
    pool: list[Any] = ["maxpool", 2]
    flat: list[Any] = ["flatten"]
    head: Layers = [["mean"], flat]
    deep: Layers = [["linear", 400, 200], relu, ["linear", 200, 60], relu, ["linear", 60, 20]]
    wide: Layers = [["linear", 1200, 900], relu, ["linear", 900, 500], relu, ["linear", 500, 40]]
    small: Layers = [["conv", 1, 10, 3], relu, pool, ["conv", 10, 20, 3], relu, pool, flat]
    small += [["linear", 720, 80], relu, ["linear", 80, 10]]
    pooled: Layers = [["conv", 3, 40, 3], relu, pool, ["conv", 40, 80, 5], relu, pool]
    pooled += [["conv", 80, 320, 3], relu, pool, flat, ["linear", 2880, 600], relu]
    pooled += [["linear", 600, 20]]
    normed: Layers = []
    for n_in, n_out, stride in [(3, 24, 1), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 384, 2)]:
        normed += [["conv", n_in, n_out, 3, stride, 1, 0], ["norm", n_out], relu, ["twice"]]
    thin: Layers = []
    for n_in, n_out, stride in [(16, 48, 1), (48, 96, 2), (96, 160, 1)]:
        thin += [["conv", n_in, n_in, 3, stride, n_in, 0], ["norm", n_in], relu]
        thin += [["conv", n_in, n_out, 1, 1, 1, 0], ["norm", n_out], relu]
    return [
        case
        for layers, shape, batches in [
            (deep, [400], [1, 24]),
            (wide, [1200], [1, 24]),
            (small, [1, 24, 24], [1, 4, 48]),
            (pooled, [3, 24, 24], [1, 4, 24]),
            ([*normed, *head], [3, 24, 24], [2, 16, 48]),
            ([*thin, *head], [16, 24, 24], [2, 16, 48]),
        ]
        for case in _sizes(layers, shape, batches, first=True, loss="cross_entropy")
    ]


def _held_cases() -> list[Case]:
    found: list[Case] = []
    for word in ("coo", "csr"):
        for n_in, n_out, density, batches in [
            (256, 256, 0.1, [1, 20]),
            (1024, 512, 0.01, [1, 20, 80]),
            (1024, 512, 0.1, [1, 20, 80]),
            (1024, 512, 0.5, [1, 20]),
        ]:
            layers = [[word, n_in, n_out, density]]
            found += _sizes(layers, [n_in], batches)
            found += _sizes(layers, [n_in], batches[-1:], first=True)
    for side in (256, 1024, 2048):
        found += _sizes([["masked_linear", side, side, 0.5]], [side], [1, 20])
    for channels, side in [(32, 14), (256, 4)]:
        layers = [["masked_conv", channels, channels, 3, 0.5]]
        found += _sizes(layers, [channels, side, side], [1, 20])
    return found
