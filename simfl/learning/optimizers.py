"""How a gradient becomes a step: SGD with momentum, and Adam; on several models at once."""

from __future__ import annotations

from math import sqrt
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

OptimizerName = Literal["sgd", "adam"]

# Kingma and Ba 2015, Algorithm 1
_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


class Optimizer(Protocol):
    """Begins anew with each turn, unless the turn goes on where another ended.

    Attributes:
        moments: what it carries from step to step, each (models, parameters).
    """

    moments: tuple[Tensor, ...]

    def step(self, weights: Tensor, gradient: Tensor, rate: float) -> None:
        """Change the weights, (models, parameters), in place."""


class SGD:
    """Source: torch.optim.SGD, without dampening or Nesterov's momentum."""

    def __init__(self, momentum: float, weights: Tensor, moments: tuple[Tensor, ...]) -> None:
        self._momentum = momentum
        self.moments = moments or ((torch.zeros_like(weights),) if momentum else ())

    def step(self, weights: Tensor, gradient: Tensor, rate: float) -> None:
        """Down the gradient, or its running sum."""
        if self._momentum:
            gradient = self.moments[0].mul_(self._momentum).add_(gradient)
        weights.add_(gradient, alpha=-rate)


class Adam:
    """Source: Kingma and Ba 2015, Algorithm 1, with its defaults.

    Its count of steps is a moment too, so that a turn can go on where another ended.
    """

    def __init__(self, weights: Tensor, moments: tuple[Tensor, ...]) -> None:
        steps = weights.new_zeros((len(weights), 1))
        self.moments = moments or (torch.zeros_like(weights), torch.zeros_like(weights), steps)

    def step(self, weights: Tensor, gradient: Tensor, rate: float) -> None:
        """By the first moment over the root of the second, both without their bias to zero."""
        first, second, steps = self.moments
        (decay, slow), t = _BETAS, int(steps[0, 0]) + 1
        steps += 1
        first.mul_(decay).add_(gradient, alpha=1 - decay)
        second.mul_(slow).addcmul_(gradient, gradient, value=1 - slow)
        scale = second.sqrt().div_(sqrt(1 - slow**t)).add_(_EPSILON)
        weights.addcdiv_(first, scale, value=-rate / (1 - decay**t))


def optimizer(
    name: OptimizerName, momentum: float, weights: Tensor, moments: tuple[Tensor, ...]
) -> Optimizer:
    """One for these weights; ``moments`` are another's to go on with, and are changed."""
    return Adam(weights, moments) if name == "adam" else SGD(momentum, weights, moments)


def slots(name: OptimizerName, momentum: float) -> int:
    """Numbers that it keeps for each parameter.

    >>> slots("adam", 0.0), slots("sgd", 0.9), slots("sgd", 0.0)
    (2, 1, 0)
    """
    return 2 if name == "adam" else int(momentum > 0)
