"""What a search may try: ranges and choices of a scenario's keys.

learning.algorithm.level=1..30              whole numbers
learning.local.learning_rate=0.001..1 log   numbers, even over their logarithm
platform.network.rate=1 Mbit/s..20 Mbit/s   quantities
codec={name: coo},{name: bitmap}            choices; a single one is a fixed change
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simfl.errors import ScenarioError
from simfl.scenario.override import Override
from simfl.units import UNITS, parse

_END: Final = re.compile(r"\s*([-+]?[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?)\s*([^\s0-9.][^\s]*)?\s*")
_WHOLE: Final = re.compile(r"[-+]?[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        path: the key.
        low: the lower end.
        high: the upper end.
        unit: of both, and of what is tried; empty for bare numbers.
        whole: whether only whole numbers are tried.
        log: whether they are tried evenly over their logarithm.
    """

    path: tuple[str, ...]
    low: float
    high: float
    unit: str = ""
    whole: bool = False
    log: bool = False

    @property
    def key(self) -> str:
        """The key as a person writes it."""
        return ".".join(self.path)

    def at(self, number: float) -> Override:
        """The change that takes this number."""
        return Override.of(self.path, f"{number!r} {self.unit}" if self.unit else number)

    def ends(self) -> list[Override]:
        """Both ends."""
        low, high = (int(x) if self.whole else x for x in (self.low, self.high))
        return [self.at(low), self.at(high)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several values.

    Attributes:
        path: the key.
        choices: a change for each value.
    """

    path: tuple[str, ...]
    choices: Sequence[Override]

    @property
    def key(self) -> str:
        """The key as a person writes it."""
        return ".".join(self.path)

    def ends(self) -> list[Override]:
        """All of them."""
        return list(self.choices)


Dimension = Range | Choice


def dimension(text: str) -> Dimension:
    """Read ``key=low..high`` or ``key=a,b,c``.

    >>> dimension("platform.network.rate=500 kbit/s..20 Mbit/s log").at(2.5).value
    '2.5 Mbit/s'
    >>> dimension("learning.algorithm.level=1..30").whole
    True

    Raises:
        ScenarioError: neither, or a range that is none.
    """
    key, _, values = text.partition("=")
    low, between, high = values.partition("..")
    high, log = (high.rstrip()[:-4], True) if high.rstrip().endswith(" log") else (high, False)
    first, last = _END.fullmatch(low), _END.fullmatch(high)
    if not between or first is None or last is None:
        several = Override.parse_several(text)
        return Choice(path=several[0].path, choices=several)
    path = Override.parse(f"{key}=").path
    unit = last[2] or ""
    start, end = _in_unit(text, first, unit), float(last[1])
    if not start < end:
        raise ScenarioError(f"{text}: the lower end is not below the upper one")
    if log and start <= 0:
        raise ScenarioError(f"{text}: a logarithm needs a lower end above 0")
    whole = not unit and all(_WHOLE.fullmatch(one[1]) for one in (first, last))
    return Range(path=path, low=start, high=end, unit=unit, whole=whole, log=log)


def _in_unit(text: str, end: re.Match[str], unit: str) -> float:
    """The lower end in the unit of the upper one; without a unit of its own it has that."""
    own = end[2] or unit
    if own == unit:
        return float(end[1])
    for dimension, units in UNITS.items():
        if own in units and unit in units:
            return parse(f"{end[1]} {own}", dimension) / parse(f"1 {unit}", dimension)
    raise ScenarioError(f"{text}: '{own}' and '{unit or 'no unit'}' do not fit; give both ends one")
