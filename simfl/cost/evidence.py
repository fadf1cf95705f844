"""How well a device is known: from the figures that its times are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import Any, Final

from pydantic import BaseModel

from simfl.cost.figures import Doubtful, Figure

GRADES: Final = ("measured", "derived", "spec", "assumed")
"""How a figure of a device is known, the best first; what a data sheet promises is not reached."""
WEAK_LOG_SD: Final = 0.5
"""From here on a figure may well be wrong by two thirds: what one scaled from siblings is worth."""

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of the figures of a device's cost: those of training, where it can train, else all.

    A figure is weak that is off a data sheet, assumed, or has a ``log_sd`` of at least 0.5.

    Attributes:
        best: the best kind among them.
        worst: the worst.
        rough: whether every one of them is weak.
        log_sd: the largest of their ``log_sd``.
    """

    best: str
    worst: str
    rough: bool
    log_sd: float

    @property
    def grade(self) -> str:
        """In a word or two.

        >>> Evidence(best="derived", worst="spec", rough=False, log_sd=0.8).grade
        'derived to spec'
        """
        return self.best if self.best == self.worst else f"{self.best} to {self.worst}"

    @property
    def factor(self) -> float:
        """How many times too much or too little, one time in three."""
        return exp(self.log_sd)


def figures(model: BaseModel, path: Keys = ()) -> Iterator[tuple[Keys, Figure]]:
    """Every figure below, with the keys that lead to it."""
    for name, value in model:
        yield from _below(value, (*path, name))


def _below(value: Any, path: Keys) -> Iterator[tuple[Keys, Figure]]:
    if isinstance(value, Figure):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from figures(value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _below(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _below(item, (*path, number))


def evidence_of(cost: BaseModel) -> Evidence:
    """What a cost model's figures are worth."""
    train = getattr(cost, "train", None)
    found = [figure for _, figure in figures(train if train is not None else cost)]
    if not found:
        return Evidence(best=GRADES[-1], worst=GRADES[-1], rough=True, log_sd=0.0)
    kinds = sorted((figure.kind for figure in found), key=GRADES.index)
    spreads = [f.log_sd if isinstance(f, Doubtful) else 0.0 for f in found]
    weak = [
        figure.kind in ("spec", "assumed") or spread >= WEAK_LOG_SD
        for figure, spread in zip(found, spreads, strict=True)
    ]
    return Evidence(best=kinds[0], worst=kinds[-1], rough=all(weak), log_sd=max(spreads))
