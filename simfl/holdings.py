"""What the clients hold, for a person: a table of their samples and classes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simfl.partitions.base import Held

# up to so many clients all are shown; of more, so many of them
_ALL: Final = 12
_SOME: Final = 10
# of a histogram
_CLASSES: Final = 10


def show_held(console: Console, held: Held) -> None:
    """A row for each client, or for the first ones and then what all have least and most of."""
    clients = len(held.sizes)
    of = any(held.of)
    table = Table(title="what the clients hold", title_justify="left", box=None)
    table.add_column("client", justify="right", no_wrap=True)
    if of:
        table.add_column("of", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    if held.classes is not None:
        table.add_column("classes", justify="right", no_wrap=True)
        table.add_column("class:samples")
    for client in range(clients if clients <= _ALL else _SOME):
        row = [str(client), *([held.of[client]] if of else []), f"{held.sizes[client]:,}"]
        if held.classes is not None:
            found = held.classes[client]
            row += [str(len(found)), histogram(found)]
        table.add_row(*map(Text, row))
    console.print(table)
    if clients > _ALL:
        told = f"samples {_spread(held.sizes)}"
        if held.classes is not None:
            told += f"; classes {_spread([len(it) for it in held.classes])}"
        console.print(f"  {clients:,} clients, least / median / most: {told}", markup=False)


def histogram(counts: dict[str, int]) -> str:
    """Samples by class, in one line: those of the first classes.

    >>> histogram({"0": 300, "7": 299})
    '0:300 7:299'
    """
    shown = " ".join(f"{name}:{count}" for name, count in list(counts.items())[:_CLASSES])
    return shown + (" ..." if len(counts) > _CLASSES else "")


def _spread(numbers: Sequence[int]) -> str:
    return f"{min(numbers):,} / {median(numbers):,g} / {max(numbers):,}"
