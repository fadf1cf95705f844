"""A network whose weights are Hadamard products of low-rank weights, composed in each forward pass.

Of a matrix, (X1 Y1') * (X2 Y2'); of a kernel, the same with a core of (rank, rank, window) between
X and Y. Optionally both halves go through tanh first. Only the factors are parameters: they are
stored, trained and sent. The products that compose the weight are counted, once a step.

Source: Hyeon-Woo et al. 2022 (FedPara), Propositions 1 and 3; supplement B for tanh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod, sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from simfl.models.base import Architecture, Init, bound_of, draw_bias
from simfl.models.count import declare

RatioOf = Literal["ranks", "parameters"]
Drawn = Literal["scaled", "public_code"]


def low_rank(
    architecture: Architecture, ratio: float, *, ratio_of: RatioOf, drawn: Drawn, tanh: bool = False
) -> Architecture:
    """The architecture with factors for the weights of its layers.

    Whole stay the last layer, convolutions in groups, and layers whose factors would be larger.

    Args:
        architecture: of any model.
        ratio: how large the factors are, in [0, 1].
        ratio_of: see `rank_of`.
        drawn: see `LowRank.draw`.
        tanh: whether both halves of a weight go through it.
    """
    return declare(
        f"{architecture.name} of factors",
        _LowRanked(architecture, ratio, ratio_of, drawn, tanh),
        architecture.options,
        classes=architecture.classes,
        sample_shape=architecture.sample_shape,
    )


def factors_size(shape: Sequence[int], rank: int) -> int:
    """Entries of the factors of a weight.

    >>> factors_size((256, 256), 16), factors_size((256, 256, 3, 3), 16)
    (16384, 20992)
    """
    core = rank**2 * prod(shape[2:]) if len(shape) > 2 else 0
    return 2 * (rank * (shape[0] + shape[1]) + core)


def rank_of(shape: Sequence[int], ratio: float, ratio_of: RatioOf) -> int:
    """R, of a weight (outputs, inputs) and its window.

    Of ``ranks``, the paper's: (1 - ratio) r_min + ratio r_max, where r_min is the least with which
    the composed weight can have full rank, and r_max the largest whose factors have no more entries
    than the weight. Rounded to the nearest: the text does not say, but its Table 5 comes out so.

    Of ``parameters``, the public code's: as many entries as that share of the weight's, rounded up,
    and at least the roots of outputs and inputs.

    Source: Hyeon-Woo et al. 2022, Corollary 1 and section 3; its notebook.

    >>> rank_of((256, 256), 0.0, "ranks"), rank_of((256, 256), 1.0, "ranks")
    (16, 64)
    >>> rank_of((256, 256, 3, 3), 0.5, "parameters")
    103
    """
    outputs, inputs = shape[:2]
    if ratio_of == "parameters":
        return max(ceil(sqrt(outputs)), ceil(sqrt(inputs)), ceil(_root(shape, ratio * prod(shape))))
    least, most = ceil(sqrt(min(outputs, inputs))), int(_root(shape, prod(shape)))
    while factors_size(shape, most + 1) <= prod(shape):
        most += 1  # the root was rounded
    return round((1 - ratio) * least + ratio * most)


def _root(shape: Sequence[int], entries: float) -> float:
    """The rank, not rounded, whose factors have so many entries."""
    sides = shape[0] + shape[1]
    if len(shape) == 2:
        return entries / (2 * sides)
    half = sides / (2 * prod(shape[2:]))
    return sqrt(half**2 + entries / (2 * prod(shape[2:]))) - half


class LowRank(nn.Module):
    """The factors of one weight.

    Args:
        shape: of the weight, (outputs, inputs) and of a convolution its window.
        rank: R, of both halves.
        bias: whether there is one.
        drawn: how the factors are drawn.
        tanh: whether both halves go through it.
    """

    bias: nn.Parameter | None

    def __init__(
        self, shape: tuple[int, ...], rank: int, *, bias: bool, drawn: Drawn, tanh: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.rank, self.drawn, self.tanh = shape, rank, drawn, tanh
        for half in "12":
            if len(shape) > 2:
                core = torch.empty(rank, rank, *shape[2:])
                self.register_parameter(f"core{half}", nn.Parameter(core))
            for name, side in zip("xy", shape[:2], strict=True):
                self.register_parameter(name + half, nn.Parameter(torch.empty(side, rank)))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape[0])) if bias else None)

    def draw(self, init: Init, generator: torch.Generator) -> None:
        """Draw factors and bias in place, from normal distributions.

        ``scaled``: factors of one variance, so that the composed weight has that of a whole one.
        With f factors a half, each of whose entries sums R^(f - 1) products, it is
        (R^(f - 1) s^(2 f))^2; what tanh takes from a half, which is taken for normal, is made up
        for. ``public_code``: He's for each factor by itself, with the fans of how
        it is stored there; the composed weight is far smaller then, and needs batch normalisation.

        Source: He et al. 2015; the notebook of Hyeon-Woo et al. 2022, for convolutions; for
        matrices, which it has not, the same without a core.
        """
        bound, of_half = bound_of(self.shape, init), self._of_half(1)
        square, summed = bound / sqrt(3), self.rank ** (len(of_half) - 1)
        if self.tanh:
            square = _before_tanh(square)
        deviation = (square / summed) ** (1 / (2 * len(of_half)))
        for factor in (*of_half, *self._of_half(2)):
            if self.drawn == "public_code":
                # sides are stored (R, side) there, and PyTorch's fan in is all but the first
                fan = factor[0].numel() if factor.dim() > 2 else len(factor)
                deviation = sqrt(2 / fan)
            factor.normal_(0, deviation, generator=generator)
        draw_bias(self.bias, init, bound, generator)

    def weight(self) -> Tensor:
        """Composed of the factors."""
        return (self._half(1) * self._half(2)).view(self.shape)

    def _half(self, number: int) -> Tensor:
        """W1 or W2: (outputs, inputs x window)."""
        *core, x, y = self._of_half(number)
        if core:
            by_outputs = (x @ core[0].flatten(1)).view(len(x), self.rank, -1)
            half = torch.matmul(y, by_outputs).flatten(1)
        else:
            half = x @ y.T
        return half.tanh() if self.tanh else half

    def _of_half(self, number: int) -> list[Tensor]:
        names = ("core", "x", "y") if len(self.shape) > 2 else ("x", "y")
        return [self.get_parameter(f"{name}{number}") for name in names]


def _before_tanh(square: float) -> float:
    """The variance of a normal number whose tanh has that mean square, which is below 1.

    >>> round(_before_tanh(0.01), 4), round(_before_tanh(0.3), 2)
    (0.0102, 0.59)
    """
    at = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    weights = torch.exp(-(at**2) / 2)
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        found = float((weights * (at * sqrt(middle)).tanh() ** 2).sum() / weights.sum())
        low, high = (middle, high) if found < square else (low, middle)
    return low


class LowRankLinear(LowRank):
    """A linear layer of factors."""

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear, with the composed weight."""
        return functional.linear(input, self.weight(), self.bias)


class LowRankConv2d(LowRank):
    """A convolution of factors.

    Args:
        like: the convolution in whose place it is; its window, stride and padding stay.
        rank: R.
        drawn: how the factors are drawn.
        tanh: whether both halves go through it.
    """

    def __init__(self, like: nn.Conv2d, rank: int, *, drawn: Drawn, tanh: bool = False) -> None:
        shape, bias = tuple(like.weight.shape), like.bias is not None
        super().__init__(shape, rank, bias=bias, drawn=drawn, tanh=tanh)
        self.stride, self.padding, self.dilation = like.stride, like.padding, like.dilation

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Conv2d, with the composed weight."""
        return functional.conv2d(
            input, self.weight(), self.bias, self.stride, self.padding, self.dilation
        )


@dataclass(frozen=True, slots=True)
class _LowRanked:
    """Builds the network, then puts factors in the place of weights; can be pickled."""

    original: Architecture
    ratio: float
    ratio_of: RatioOf
    drawn: Drawn
    tanh: bool

    def __call__(self) -> nn.Module:
        module = self.original.build()
        for layer in self.original.layers:
            path = layer.weight.removesuffix(".weight")
            whole = module.get_submodule(path)
            if layer.output or not isinstance(whole, nn.Linear | nn.Conv2d):
                continue
            if isinstance(whole, nn.Conv2d) and (whole.groups > 1 or whole.padding_mode != "zeros"):
                continue
            factors = self._factors(whole)
            if factors is not None:
                module.set_submodule(path, factors)
        return module

    def _factors(self, whole: nn.Linear | nn.Conv2d) -> LowRank | None:
        shape = tuple(whole.weight.shape)
        rank = rank_of(shape, self.ratio, self.ratio_of)
        if rank < 1 or factors_size(shape, rank) > prod(shape):
            return None
        if isinstance(whole, nn.Conv2d):
            return LowRankConv2d(whole, rank, drawn=self.drawn, tanh=self.tanh)
        bias = whole.bias is not None
        return LowRankLinear(shape, rank, bias=bias, drawn=self.drawn, tanh=self.tanh)
