"""When a device is there: spells, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Spell(NamedTuple):
    """A time in which a device is there, in simulated seconds."""

    start_s: float
    end_s: float


class Availability(Protocol):
    """Says when each client or peer is there; pure and seeded."""

    def __call__(
        self, options: Any, nodes: Sequence[str], *, folder: Path, seed: int
    ) -> Mapping[str, Iterator[Spell]]:
        """The spells of each node that comes and goes, without overlap and in their order.

        They may go on without end. A node that is not named is always there.

        Args:
            options: the scenario's options.
            nodes: clients or peers, in their order.
            folder: what paths are relative to.
            seed: the scenario's seed.

        Raises:
            OptionError: a file that cannot be read, or does not speak of these nodes.
        """
