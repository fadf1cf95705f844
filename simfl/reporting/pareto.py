"""Pareto fronts of a study's points."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go

from simfl.reporting.blocks import Chart
from simfl.reporting.palette import COLOURS, GREY
from simfl.reporting.study import MEASURES, Study, last, pareto
from simfl.reporting.style import figure, short

_PAIRS: Final = (
    ("time_s", "accuracy"),
    ("sent_bytes", "accuracy"),
    ("joules", "accuracy"),
    ("sent_bytes", "target_s"),
    ("target_joules", "target_s"),
)


def pareto_chart(study: Study) -> Chart:
    """Points by two measures, those that no other beats joined."""
    views = {}
    measures = study.measures
    for x, y in _PAIRS:
        if x in measures and y in measures:
            drawn = _pareto_figure(study, x, y)
            if drawn is not None:
                views[f"{MEASURES[y].called} and {MEASURES[x].called}"] = drawn
    return Chart(
        title="Pareto fronts",
        says="A point is on the front where no other is as good in both and better in one. Points "
        "that never reach the target, or of which a figure is not known, are left out.",
        views=views,
        log_x=True,
        log_y=False,
    )


def _pareto_figure(study: Study, x: str, y: str) -> go.Figure | None:
    points = study.points.assign(on=pareto(study.points, x, y))
    points = points[np.isfinite(points[x]) & np.isfinite(points[y])].sort_values([x, y])
    if not len(points):
        return None
    drawn = figure(x=MEASURES[x].title, y=MEASURES[y].title, height=420)
    for called, found, colour, symbol in (
        ("others", points[~points["on"]], GREY, "circle-open"),
        ("front", points[points["on"]], COLOURS[0][0], "diamond"),
    ):
        if not len(found):
            continue
        drawn.add_trace(
            go.Scatter(
                x=found[x].to_numpy(),
                y=found[y].to_numpy(),
                name=called,
                mode="lines+markers" if called == "front" else "markers",
                # a front of points has corners: nothing lies between two of them
                line={"shape": "hv", "color": colour, "width": 1.5},
                marker={"color": colour, "symbol": symbol, "size": 10},
                text=[
                    "<br>".join(
                        [
                            *(f"{last(key)} {short(row[key], 40)}" for key in study.keys),
                            f"{MEASURES[x].called} {MEASURES[x].show(row[x])}",
                            f"{MEASURES[y].called} {MEASURES[y].show(row[y])}",
                        ]
                    )
                    for row in found.to_dict("records")
                ],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    return drawn
