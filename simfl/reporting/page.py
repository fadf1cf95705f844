"""One HTML page: everything in it, nothing fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Any, Final

import pandas as pd
from plotly.offline import get_plotlyjs

from simfl.reporting.blocks import Chart, Section, Table, Text
from simfl.reporting.palette import dark_of

MARK: Final = '<meta name="generator" content="simfl'
"""What tells a page of ours from another file."""
_LONG: Final = 30


def page_of(title: str, says: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    return Template(_file("page.html")).substitute(
        title=escape(title),
        says=escape(says),
        version=escape(version("simfl")),
        nav="".join(f'<a href="#{_slug(s.title)}">{escape(s.title)}</a>' for s in sections),
        body="\n".join(_section(section) for section in sections),
        css=_file("page.css"),
        js=_file("page.js"),
        dark=json.dumps(dark_of()),
        plotly=get_plotlyjs(),
    )


def _file(name: str) -> str:
    return (files("simfl.reporting") / name).read_text(encoding="utf-8")


def _section(section: Section) -> str:
    parts = [f'<section id="{_slug(section.title)}"><h2>{escape(section.title)}</h2>']
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in section.warnings]
    for block in section.blocks:
        match block:
            case Chart():
                parts.append(_chart(block))
            case Table():
                parts.append(_table(block))
            case Text():
                parts.append(_text(block))
    return "\n".join([*parts, "</section>"])


def _chart(chart: Chart) -> str:
    title = f"<h3>{escape(chart.title)}</h3>"
    says = f'<p class="says">{escape(chart.says)}</p>'
    if not chart.views:
        return f'<div class="block">{title}{says}</div>'
    controls = []
    if len(chart.views) > 1:
        options = "".join(f"<option>{escape(label)}</option>" for label in chart.views)
        label = escape(chart.title)
        controls.append(f'<label>show <select aria-label="{label}">{options}</select></label>')
    for axis, wanted in (("x", chart.log_x), ("y", chart.log_y)):
        if wanted is not None:
            controls.append(
                f'<label><input type="checkbox" data-axis="{axis}"{" checked" * wanted}> '
                f"{axis} logarithmic</label>"
            )
    controls.append('<button type="button" data-do="reset">reset</button>')
    controls.append('<button type="button" data-do="save">save as SVG</button>')
    figures = "".join(
        f'<script type="application/json">{_harmless(figure.to_json())}</script>'
        for figure in chart.views.values()
    )
    return (
        f'<div class="block of-chart" data-file="{_slug(chart.title)}">{title}{says}'
        f'<div class="controls">{"".join(controls)}</div><div class="chart" role="img" '
        f'aria-label="{escape(chart.title)}"></div>{figures}</div>'
    )


def _table(table: Table) -> str:
    title = f"<h3>{escape(table.title)}</h3>"
    says = f'<p class="says">{escape(table.says)}</p>' if table.says else ""
    if not len(table.frame):
        return f'<div class="block">{title}{says}<p>Nothing to show.</p></div>'
    names = list(table.columns)
    numeric = {n: pd.api.types.is_numeric_dtype(table.frame[n]) for n in names}
    heads = "".join(
        f'<th scope="col" data-name="{escape(name)}"{_number(numeric[name])}>'
        f'<button type="button">{_head(table.columns[name].head)}</button></th>'
        for name in names
    )
    rows = "".join(
        "<tr>"
        + "".join(
            _cell(value, table.columns[name].show(value), numeric=numeric[name])
            for name, value in zip(names, values, strict=True)
        )
        + "</tr>"
        for values in table.frame[names].astype(object).itertuples(index=False, name=None)
    )
    return (
        f'<div class="block of-table" data-file="{escape(table.file)}">{title}{says}'
        f'<div class="controls"><button type="button" data-do="csv">download as CSV</button></div>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def _cell(value: Any, shown: str, *, numeric: bool) -> str:
    kind = "number" if numeric else "long" if len(shown) > _LONG else ""
    named = f' class="{kind}"' if kind else ""
    return f'<td data-value="{escape(_plain(value))}"{named}>{escape(shown)}</td>'


def _text(text: Text) -> str:
    return (
        f"<details><summary>{escape(text.title)}</summary><pre>{escape(text.body)}</pre></details>"
    )


def _head(head: str) -> str:
    """A long key may be broken behind a dot or an underscore."""
    return re.sub(r"(?<=[._])", "<wbr>", escape(head))


def _number(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _plain(value: Any) -> str:
    """For a file: all digits."""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _harmless(text: str) -> str:
    """JSON that cannot end the element that it stands in."""
    return text.replace("<", "\\u003c")


def _slug(title: str) -> str:
    """A title in a link or a file's name.

    >>> _slug("Accuracy, time, bytes")
    'accuracy-time-bytes'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
