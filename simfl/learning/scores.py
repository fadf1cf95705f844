"""Weights that are never trained: what is trained are scores, by which some of them are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

BYTES_PER_WEIGHT: Final = 28
"""Memory traffic of a step for each weight: score, probability, draw and frozen weight are read,
probability, draw and product written, each 4 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Frozen weights, of which each is there with probability sigmoid(score).

    Attributes:
        frozen: the weights, (parameters,).
        damped: the gradient by a probability is that by the draw times the probability; else it
            goes straight through (Bengio et al. 2013).

    Source: Zhou et al. 2019 for networks found in random weights; Isik et al. 2023, section 3.
    """

    frozen: Tensor
    damped: bool = False

    def draw(self, scores: Tensor, at: Tensor, streams: Sequence[torch.Generator]) -> None:
        """Networks of drawn weights, into ``at``; both (models, parameters)."""
        # row by row: what is drawn for one does not depend on who is beside it
        for row, into, stream in zip(scores, at, streams, strict=True):
            torch.mul(drawn(row, stream), self.frozen, out=into)

    def by_score(self, gradient: Tensor, scores: Tensor) -> Tensor:
        """The gradient by the scores, from that by the drawn weights; both (models, parameters)."""
        p = torch.stack([row.sigmoid() for row in scores])
        slope = p * (1 - p)
        if self.damped:
            slope *= p
        return gradient * self.frozen * slope


def drawn(scores: Tensor, stream: torch.Generator) -> Tensor:
    """1 with probability sigmoid(score), else 0; (parameters,). Draws are made on the CPU."""
    chances = scores.sigmoid().cpu()
    return torch.bernoulli(chances, generator=stream).to(scores.device)
