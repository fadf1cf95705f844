"""In turn: who has waited longest comes first.

Source: the deterministic baseline of scheduling studies, as in Yang et al. 2020 (Scheduling
Policies for Federated Learning in Wireless Networks), section III.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from simfl.registry import SELECTION
from simfl.selection.base import Pool, Selection, SelectionOptions


class RoundRobinOptions(SelectionOptions):
    """None."""


@SELECTION.register("round_robin", options=RoundRobinOptions)
def round_robin(options: RoundRobinOptions, pool: Pool) -> Sequence[int]:
    """By the round in which each was chosen last, then by number."""
    waited = nsmallest(pool.size, pool.candidates(), key=lambda c: (c.last_round, c.index))
    return [candidate.index for candidate in waited]


_: Selection = round_robin
