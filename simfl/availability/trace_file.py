"""From a file: when each device was there, one line for each spell.

A CSV file with the columns ``device``, ``start_s`` and ``end_s``, such as can be made from the
traces of user devices that FedScale (Lai et al. 2022, section 3.2) and FLASH (Yang et al. 2021)
publish.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise
from math import isfinite
from pathlib import Path
from random import Random
from typing import Final, Literal

from simfl.availability.base import Availability, Spell
from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options, PositiveDuration
from simfl.registry import AVAILABILITY

_COLUMNS: Final = ["device", "start_s", "end_s"]


class TraceFileOptions(Options):
    """Which file, and whose spells are whose.

    Attributes:
        path: of the CSV file; relative to the scenario.
        deal: ``by_name``: a device of the file is the node of that name; ``drawn``: each node is
            given one of the file's devices, drawn by the seed, the same one twice only where there
            are fewer devices than nodes.
        repeat_every: the file's times come again with this period; left out, whoever has had his
            last spell stays away.
    """

    path: str
    deal: Literal["by_name", "drawn"] = "by_name"
    repeat_every: PositiveDuration | None = None


@AVAILABILITY.register("trace_file", options=TraceFileOptions)
def trace_file(
    options: TraceFileOptions, nodes: Sequence[str], *, folder: Path, seed: int
) -> Mapping[str, Iterator[Spell]]:
    """Each node's spells, as the file gives them.

    Raises:
        OptionError: the file cannot be read, or says nothing of a node.
    """
    path = folder / options.path
    devices = _read(path, options)
    if options.deal == "by_name":
        missing = [node for node in nodes if node not in devices]
        if missing:
            names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise OptionError(
                "path",
                f"{path} has no line for {names}; add them, or say deal: drawn",
            )
        whose = {node: node for node in nodes}
    else:
        whose = _drawn(list(devices), nodes, seed)
    return {node: _spells(devices[whose[node]], options.repeat_every) for node in nodes}


def _drawn(devices: list[str], nodes: Sequence[str], seed: int) -> dict[str, str]:
    draw = Random(seed_of(seed, "availability"))
    deck: list[str] = []
    while len(deck) < len(nodes):
        deck += draw.sample(devices, len(devices))
    return dict(zip(nodes, deck, strict=False))


def _spells(spells: list[Spell], repeat_every_s: float | None) -> Iterator[Spell]:
    if repeat_every_s is None:
        yield from spells
        return
    for times in count():
        for start_s, end_s in spells:
            yield Spell(start_s + times * repeat_every_s, end_s + times * repeat_every_s)


def _read(path: Path, options: TraceFileOptions) -> dict[str, list[Spell]]:
    """By device, in the order of the file; each one's spells in the order of time."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            head = next(lines, [])
            if [column.strip() for column in head] != _COLUMNS:
                raise OptionError("path", f"{path}, line 1: give the columns {','.join(_COLUMNS)}")
            for line in lines:
                if line:
                    device, spell = _spell(path, lines.line_num, line)
                    found.setdefault(device, []).append((*spell, lines.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError("path", f"{path}: {reason}; give a CSV file") from error
    if not found:
        raise OptionError("path", f"{path}: no spells; add a line for each")
    for spells in found.values():
        spells.sort()
        for (_, end_s, before), (start_s, _, number) in pairwise(spells):
            if start_s < end_s:
                raise OptionError(
                    "path",
                    f"{path}, line {number}: begins before the spell of line {before} has ended",
                )
        period_s, last_s = options.repeat_every, spells[-1][1]
        if period_s is not None and last_s - spells[0][0] > period_s:
            raise OptionError(
                "repeat_every",
                f"{period_s:g} s is shorter than the times of {path}, line {spells[-1][2]}; "
                "give a longer one",
            )
    return {d: [Spell(start, end) for start, end, _ in spells] for d, spells in found.items()}


def _spell(path: Path, number: int, line: list[str]) -> tuple[str, tuple[float, float]]:
    try:
        device, start, end = line
        start_s, end_s = float(start), float(end)
    except ValueError:
        raise OptionError(
            "path", f"{path}, line {number}: '{','.join(line)}' is no device,start_s,end_s"
        ) from None
    if not (isfinite(start_s) and isfinite(end_s) and 0 <= start_s < end_s):
        raise OptionError(
            "path", f"{path}, line {number}: from {start} to {end}; give 0 <= start_s < end_s"
        )
    return device.strip(), (start_s, end_s)


_: Availability = trace_file
