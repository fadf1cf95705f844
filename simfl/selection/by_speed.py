"""The fastest: by how long a turn took last, or else would take to compute.

The greedy end of what FedCS (Nishio and Yonetani 2019, Algorithm 3) and Oort weigh: rounds are as
short as can be, and the data of slow devices is never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from simfl.options import Share
from simfl.registry import SELECTION
from simfl.selection.base import Candidate, Pool, Selection, SelectionOptions


class BySpeedOptions(SelectionOptions):
    """How greedy it is.

    Attributes:
        explore: share of the cohort that is drawn among the others, whatever their speed.
    """

    explore: Share = 0.0


@SELECTION.register("by_speed", options=BySpeedOptions)
def by_speed(options: BySpeedOptions, pool: Pool) -> Sequence[int]:
    """The fastest, and, if asked for, some others."""
    others = round(options.explore * pool.size)
    fastest = nsmallest(pool.size - others, pool.candidates(), key=_speed)
    chosen = {candidate.index for candidate in fastest}
    rest = [index for index in pool.clients if index not in chosen]
    return [*chosen, *pool.draw.sample(rest, others)]


def _speed(candidate: Candidate) -> tuple[float, int]:
    took_s = candidate.compute_s if candidate.duration_s is None else candidate.duration_s
    return took_s, candidate.index


_: Selection = by_speed
