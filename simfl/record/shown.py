"""A trace in one line, and as a small table for a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import isfinite, isinf, isnan
from typing import TYPE_CHECKING

import yaml

from simfl.record.summary import Summary, summarise
from simfl.units import show_bytes, show_joules, show_seconds

if TYPE_CHECKING:
    from simfl.record.reader import Trace


def line(trace: Trace) -> str:
    """What ran, how far it came, and what it took: the text of `Trace`'s ``repr``."""
    return f"<Trace {trace.path}: {', '.join(f'{k} {v}'.strip() for k, v in _known(trace))}>"


def table(trace: Trace) -> str:
    """The same as HTML, a row a figure."""
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(name or 'run')}</td>"
        f"<td style='text-align:right'>{escape(text)}</td></tr>"
        for name, text in _known(trace)
    )
    return f"<table><caption>{escape(str(trace.path))}</caption>{rows}</table>"


def _known(trace: Trace) -> list[tuple[str, str]]:
    """Its facts; of one whose scenario is not whole, how it ended: a repr does not fail."""
    try:
        return list(_facts(trace))
    except (KeyError, TypeError):
        return [("", trace.status or "not begun")]


def _facts(trace: Trace) -> Iterator[tuple[str, str]]:
    """Names of figures and the figures; what is not known is left out."""
    found = summarise(trace)
    learning = yaml.safe_load(trace.scenario)["learning"]
    data = trace.dataset
    stands_in = f" for {data['asked']}" if data["stands_in"] else ""
    algorithm, model = learning["algorithm"]["name"], learning["model"]["name"]
    yield "", f"{algorithm} on {model}, {data['name']}{stands_in}"
    state = "" if trace.complete else " (not complete)"
    yield "rounds", f"{found.rounds:,}{state}"
    if not isnan(found.accuracy):
        yield "accuracy", f"{found.accuracy:.4f}"
    yield "simulated", show_seconds(found.time_s)
    if found.target is not None:
        yield f"to {found.target:g}", _reached(found)
    yield "sent", show_bytes(found.down_bytes + found.up_bytes)
    if isfinite(found.joules):
        yield "energy", show_joules(found.joules) + " without radios" * found.radio_missing


def _reached(found: Summary) -> str:
    return "not reached" if isinf(found.target_s) else show_seconds(found.target_s)
