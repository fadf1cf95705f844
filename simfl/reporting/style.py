"""How charts look: one place for margins, axes and legends."""

from __future__ import annotations

from typing import Any, Final

import plotly.graph_objects as go

from simfl.reporting.palette import FAINT, GRID, INK, PAPER

_LONGEST: Final = 22


def figure(*, x: str = "", y: str = "", height: int = 380, **layout: Any) -> go.Figure:
    """An empty figure; it has no title, which the page has above it."""
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": GRID,
        "automargin": True,
        "title": {"standoff": 8},
        "exponentformat": "SI",
    }
    drawn = go.Figure()
    drawn.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 12, "b": 8, "pad": 2},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={
            "orientation": "h",
            "traceorder": "normal",
            "yanchor": "bottom",
            "y": 1.02,
            "xanchor": "left",
            "x": 0,
            "bgcolor": "rgba(0,0,0,0)",
        },
        hoverlabel={"bgcolor": PAPER, "bordercolor": FAINT, "font": {"color": INK}},
        showlegend=True,
        xaxis=axis,
        yaxis=axis,
    )
    drawn.update_xaxes(title_text=x)
    drawn.update_yaxes(title_text=y)
    drawn.update_layout(**layout)
    return drawn


def hatched(colour: str, shape: str) -> dict[str, Any]:
    """The fill of a bar: what is told by colour is told by a hatch, too."""
    return {
        "color": colour,
        "line": {"width": 0},
        "pattern": {"shape": shape, "fillmode": "overlay", "size": 6, "solidity": 0.15},
    }


def short(text: str, longest: int = _LONGEST) -> str:
    """A label that leaves room for the chart.

    >>> short("layer3.1.residual.conv2.weight")
    'layer3.1.res…v2.weight'
    """
    if len(text) <= longest:
        return text
    tail = (longest - 1) * 4 // 9
    return f"{text[: longest - 1 - tail]}…{text[-tail:]}"
