"""Clients that are fast, and from whose data there is most to learn.

Source: Lai et al. 2021 (Oort), Algorithm 1 and equation (1).

Departs from the paper: the preferred duration T is a share of the durations seen so far, and no
pacer moves it; a client's losses are those of its samples under the model that it is sent, where
Oort takes them while the model is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log, sqrt
from typing import Annotated

from pydantic import Field

from simfl.options import Share
from simfl.registry import SELECTION
from simfl.selection.base import Candidate, Pool, Selection, SelectionOptions


class OortOptions(SelectionOptions):
    """Oort's settings, section 7.1.

    Attributes:
        explore: share of a cohort that was never tried, in the first round.
        explore_decay: factor of it from one round to the next.
        explore_least: below which it does not fall.
        penalty: alpha, exponent of how much longer than preferred a client takes.
        preferred: of the durations seen, the share below the one that is preferred.
        cutoff: of the utility of the last one who would be taken: who has more may be drawn.
        clip: of all utilities, the share above which they count as no more.
    """

    needs_losses = True

    explore: Share = 0.9
    explore_decay: Share = 0.98
    explore_least: Share = 0.2
    penalty: Annotated[float, Field(ge=0)] = 2.0
    preferred: Share = 0.5
    cutoff: Share = 0.95
    clip: Share = 0.95


@SELECTION.register("oort", options=OortOptions)
def oort(options: OortOptions, pool: Pool) -> Sequence[int]:
    """Exploit those known to be useful, explore the fastest of the others."""
    candidates = pool.candidates()
    tried = [c for c in candidates if c.loss is not None and c.duration_s is not None]
    new = [c for c in candidates if c.loss is None or c.duration_s is None]
    share = max(options.explore_least, options.explore * options.explore_decay ** (pool.number - 1))
    explored = min(len(new), round(share * pool.size))
    exploited = min(len(tried), pool.size - explored)
    explored = pool.size - exploited
    draw = pool.draw
    chosen: list[int] = []
    if exploited:
        utility = _utilities(options, tried, pool.number)
        ranked = sorted(tried, key=lambda c: (-utility[c.index], c.index))
        least = options.cutoff * utility[ranked[exploited - 1].index]
        able = [c.index for c in ranked if utility[c.index] >= least]
        # weighted, without replacement: the largest u ** (1 / w) (Efraimidis and Spirakis 2006)
        keys = {index: draw.random() ** (1.0 / max(utility[index], 1e-12)) for index in able}
        chosen += sorted(able, key=lambda index: -keys[index])[:exploited]
    new.sort(key=lambda c: (c.compute_s, c.index))
    return [*chosen, *(c.index for c in new[:explored])]


def _utilities(options: OortOptions, tried: Sequence[Candidate], number: int) -> dict[int, float]:
    """Equation (1), the bonus of who was long not chosen in it; by client."""
    durations_s = sorted(c.duration_s or 0.0 for c in tried)
    preferred_s = durations_s[min(len(tried) - 1, int(options.preferred * len(tried)))]
    # a loss that is no number teaches nothing: its model has diverged
    losses = {c.index: c.loss if c.loss and isfinite(c.loss) else 0.0 for c in tried}
    learnt = {c.index: c.samples * losses[c.index] for c in tried}
    most = sorted(learnt.values())[min(len(tried) - 1, int(options.clip * len(tried)))] or 1.0
    found = {}
    for c in tried:
        # lines 10 and 11: in units of the largest, since the bonus has none
        useful = min(learnt[c.index], most) / most + sqrt(
            0.1 * log(max(number, 1)) / max(c.last_round, 1)
        )
        duration_s = c.duration_s or 0.0
        slower = preferred_s < duration_s
        found[c.index] = useful * ((preferred_s / duration_s) ** options.penalty if slower else 1.0)
    return found


_: Selection = oort
