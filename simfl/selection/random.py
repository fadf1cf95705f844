"""At random, all alike and without replacement. Source: McMahan et al. 2017, Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence

from simfl.registry import SELECTION
from simfl.selection.base import Pool, Selection, SelectionOptions


class RandomOptions(SelectionOptions):
    """None."""


@SELECTION.register("random", options=RandomOptions)
def random(options: RandomOptions, pool: Pool) -> Sequence[int]:
    """A sample of that size; everybody where no fewer are wanted."""
    if pool.size == len(pool.clients):
        return pool.clients
    return pool.draw.sample(pool.clients, pool.size)


_: Selection = random
