"""Always: every device is there from the beginning to the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from simfl.availability.base import Availability, Spell
from simfl.options import Options
from simfl.registry import AVAILABILITY


class AlwaysOptions(Options):
    """None."""


@AVAILABILITY.register("always", options=AlwaysOptions)
def always(
    options: AlwaysOptions, nodes: Sequence[str], *, folder: Path, seed: int
) -> Mapping[str, Iterator[Spell]]:
    """Nobody comes or goes."""
    return {}


_: Availability = always
