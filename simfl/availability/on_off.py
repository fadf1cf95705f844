"""On and off: each device is there, then away, for times that are drawn.

Both are exponential, independent of each other and of other devices: an alternating renewal
process, as churn is modelled in Stutzbach and Rejaie 2006, section 2 (who find heavier tails; the
exponential is assumed here). Each device begins as if it had come and gone for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from simfl.availability.base import Availability, Spell
from simfl.keys import seed_of
from simfl.options import Options, PositiveDuration
from simfl.registry import AVAILABILITY


class OnOffOptions(Options):
    """How long it lasts, in the mean.

    Attributes:
        there: that a device takes part.
        away: that it does not.
    """

    there: PositiveDuration
    away: PositiveDuration


@AVAILABILITY.register("on_off", options=OnOffOptions)
def on_off(
    options: OnOffOptions, nodes: Sequence[str], *, folder: Path, seed: int
) -> Mapping[str, Iterator[Spell]]:
    """A share of there / (there + away) of all devices is there at any time."""
    return {
        node: _spells(options, Random(seed_of(seed, "availability", index)))
        for index, node in enumerate(nodes)
    }


def _spells(options: OnOffOptions, draw: Random) -> Iterator[Spell]:
    """Without end."""
    now_s = 0.0
    if draw.random() * (options.there + options.away) >= options.there:
        # what is left of an exponential time is exponential again
        now_s += draw.expovariate(1.0 / options.away)
    while True:
        end_s = now_s + draw.expovariate(1.0 / options.there)
        yield Spell(now_s, end_s)
        now_s = end_s + draw.expovariate(1.0 / options.away)


_: Availability = on_off
