"""What a page is made of: sections of charts, tables and texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isinf, isnan
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from simfl.units import show_bytes, show_joules, show_seconds

Show = Callable[[Any], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure, or several to choose from.

    Attributes:
        says: what is drawn, and what was left out; below the title.
        views: figures by what the choice is called.
        log_x: whether the horizontal axis is logarithmic at first; None: it cannot be chosen.
        log_y: likewise the vertical one.
    """

    title: str
    says: str
    views: Mapping[str, go.Figure]
    log_x: bool | None = None
    log_y: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        head: what a person reads; the file has the frame's own name.
        show: a value as text.
    """

    head: str
    show: Show = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table to sort, and to save as CSV with all digits.

    Attributes:
        file: name of the CSV file.
        columns: by the frame's columns, those that are shown.
    """

    title: str
    says: str
    file: str
    frame: pd.DataFrame
    columns: Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text as it stands, folded away."""

    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        warnings: what must be known before the rest is read.
    """

    title: str
    blocks: list[Chart | Table | Text]
    warnings: list[str] = field(default_factory=list)


def seconds(value: float) -> str:
    """A time, for a cell.

    >>> seconds(float("inf")), seconds(9000.0), seconds(float("nan"))
    ('never', '2 h 30 min', '-')
    """
    return _told(value, show_seconds)


def nbytes(value: float) -> str:
    """A size, for a cell."""
    return _told(value, show_bytes)


def joules(value: float) -> str:
    """An energy, for a cell."""
    return _told(value, show_joules)


def share(value: float) -> str:
    """A share, for a cell."""
    return _told(value, lambda v: f"{v:.1%}")


def accuracy(value: float) -> str:
    """An accuracy, for a cell."""
    return _told(value, lambda v: f"{v:.4f}")


def count(value: float) -> str:
    """A number of things, for a cell."""
    return _told(value, lambda v: f"{v:,.0f}")


def _told(value: float, show: Callable[[float], str]) -> str:
    if isnan(value):
        return "-"
    return "never" if isinf(value) else show(value)
