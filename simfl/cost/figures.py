"""Numbers with their evidence: what device models and link presets are made of."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from simfl.options import (
    ComputeRate,
    Energy,
    Options,
    PositiveDuration,
    Power,
    Rate,
    Share,
    Size,
    Throughput,
)

GRADES: Final = ("measured", "spec", "derived", "assumed")
"""How a figure is known, the best first."""


class Figure(Options):
    """One number, with its evidence.

    Attributes:
        value: in SI base units; in the file, text with its unit.
        kind: how it is known. ``derived`` is arithmetic on cited figures, given in ``note``.
        source: paper and figure, table, data sheet or measurement; for ``assumed``, the reason.
    """

    kind: Literal["measured", "derived", "spec", "assumed"]
    source: Annotated[str, Field(min_length=3)]
    note: str = ""


class Doubtful(Figure):
    """A number of a device, and how well it is known.

    Attributes:
        log_sd: standard deviation of its natural logarithm: 0.1 is some 10 % up or down.
    """

    log_sd: Annotated[float, Field(ge=0, le=3)]


class Time(Doubtful):
    """A time above zero, in seconds."""

    value: PositiveDuration


class Amount(Doubtful):
    """A size in bytes."""

    value: Size


class FlopRate(Doubtful):
    """A computing rate in FLOP per second."""

    value: ComputeRate


class MemoryRate(Doubtful):
    """A memory rate in bytes per second."""

    value: Throughput


class RadioRate(Doubtful):
    """A goodput in bits per second."""

    value: Rate


class Watts(Doubtful):
    """A power in watts."""

    value: Power


class Joules(Doubtful):
    """An energy in joules."""

    value: Energy


class Ratio(Doubtful):
    """How many times as much, or a spread."""

    value: Annotated[float, Field(ge=0)]


class Portion(Doubtful):
    """A share."""

    value: Share


class Spread(Figure):
    """A standard deviation of natural logarithms: 0.1 is some 10 % up or down."""

    value: Annotated[float, Field(ge=0, le=3)]


class Access(Figure):
    """The name of a link preset."""

    value: str
