"""A study drawn: a heat map, and lines, both with break-evens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, product
from math import isfinite, log10, nan
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simfl.reporting.blocks import Chart
from simfl.reporting.palette import COLOURS, DASHES, INK, MARKERS, PAPER
from simfl.reporting.study import MEASURES, Measure, Study, break_even, last, number_of
from simfl.reporting.style import figure, short

_VIEWS: Final = 24
_SCALE: Final = "Cividis"
_EVEN: Final = (
    " Dotted lines: where a row breaks even with the first one. White lines: where the best row "
    "changes. Both are interpolated, straight on logarithmic axes, between the columns played."
)


def slices(study: Study, across: str, up: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The points at each combination of the other keys, with what it is called."""
    others = [key for key in study.keys if key not in (across, up)]
    for values in product(*(study.values(key) for key in others)):
        chosen = pd.Series(True, index=study.points.index)
        for key, value in zip(others, values, strict=True):
            chosen &= study.points[key] == value
        if chosen.any():
            pairs = zip(others, values, strict=True)
            yield ", ".join(f"{last(k)} {v}" for k, v in pairs), study.points[chosen]


def heat_charts(study: Study, across: str, up: str) -> list[Chart]:
    """The heat map, and the same as lines where what is across is a quantity."""
    maps: dict[str, go.Figure] = {}
    lines: dict[str, go.Figure] = {}
    wanted = [
        (measure, text, points)
        for measure in study.measures
        for text, points in slices(study, across, up)
    ]
    for measure, text, points in wanted[:_VIEWS]:
        label = MEASURES[measure].called + (f"; {text}" if text else "")
        grid = grid_of(study, points, across, up, measure)
        maps[label] = heat_figure(study, grid, MEASURES[measure])
        if study.numeric(across) and len(grid.columns) > 1:
            lines[label] = lines_figure(study, grid, MEASURES[measure])
    left = len(wanted) - _VIEWS
    more = f" {left} more combinations are not drawn; the table has them." if left > 0 else ""
    found = [
        Chart(
            title=f"{last(up)} by {last(across)}",
            says="A star is the best of its column." + (_EVEN if lines else "") + more,
            views=maps,
        )
    ]
    if lines:
        says = "Rings: where two lines cross; between the points that were played, interpolated."
        found.append(
            Chart(title=f"Against {last(across)}", says=says + more, views=lines, log_y=True)
        )
    return found


def grid_of(study: Study, points: pd.DataFrame, across: str, up: str, measure: str) -> pd.DataFrame:
    """A measure by the values of two keys; of several points at one place, their mean."""
    grid = points.pivot_table(
        index=up, columns=across, values=measure, aggfunc="mean", dropna=False
    )
    return grid.reindex(index=study.values(up), columns=study.values(across)).rename_axis(
        index=up, columns=across
    )


def heat_figure(study: Study, grid: pd.DataFrame, measure: Measure) -> go.Figure:
    """Colour and text say the measure; places are numbered, so that lines can go between them."""
    values = grid.to_numpy(dtype=float)
    shown = np.where(np.isfinite(values), values, nan)
    logarithmic = bool(np.nanmin(shown, initial=1.0) > 0) and not measure.most
    z = np.log10(shown) if logarithmic else shown
    ticks = _ticks(z)
    drawn = figure(
        x=last(str(grid.columns.name)),
        y=last(str(grid.index.name)),
        height=150 + 44 * len(grid),
        meta={"least_width": 150 + 64 * len(grid.columns)},
        showlegend=False,
        xaxis_tickvals=list(range(len(grid.columns))),
        xaxis_ticktext=[short(str(c), 16) for c in grid.columns],
        yaxis_tickvals=list(range(len(grid))),
        yaxis_ticktext=[short(str(r), 16) for r in grid.index],
        xaxis_showgrid=False,
        yaxis_showgrid=False,
    )
    drawn.add_trace(
        go.Heatmap(
            z=z,
            text=[[measure.show(v) for v in row] for row in values],
            texttemplate="%{text}",
            colorscale=_SCALE,
            reversescale=not measure.most,
            hovertemplate=f"%{{x}}, %{{y}}: %{{text}}<extra>{measure.called}</extra>",
            xgap=1,
            ygap=1,
            colorbar={
                "thickness": 10,
                "outlinewidth": 0,
                "tickvals": ticks,
                "ticktext": [measure.show(10**t if logarithmic else t) for t in ticks],
            },
        )
    )
    best = _best(values, measure)
    _star(drawn, best)
    if study.numeric(str(grid.columns.name)) and len(grid.columns) > 1:
        _even_lines(drawn, grid, best)
    return drawn


def _ticks(z: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[float]:
    known = z[np.isfinite(z)]
    if not known.size:
        return []
    low, high = float(known.min()), float(known.max())
    return [low, (low + high) / 2, high] if high > low else [low]


def _best(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]], measure: Measure
) -> list[int | None]:
    """The best row of each column; None where none is known."""
    best: list[int | None] = []
    for column in values.T:
        known = [row for row, value in enumerate(column) if isfinite(value)]
        pick = max if measure.most else min
        best.append(pick(known, key=column.__getitem__) if known else None)
    return best


def _star(drawn: go.Figure, best: list[int | None]) -> None:
    at = [(column, row) for column, row in enumerate(best) if row is not None]
    drawn.add_trace(
        go.Scatter(
            x=[column for column, _ in at],
            y=[row + 0.33 for _, row in at],
            mode="markers",
            marker={
                "symbol": "star",
                "size": 13,
                "color": "#fefefe",
                "line": {"color": "#000000", "width": 1.2},
            },
            hoverinfo="skip",
        )
    )


def _even_lines(drawn: go.Figure, grid: pd.DataFrame, best: list[int | None]) -> None:
    """Where each row costs as much as the first one, and where the best row changes."""
    across = [number_of(str(c)) for c in grid.columns]
    costs = [dict(zip(across, map(float, row), strict=True)) for row in grid.to_numpy()]
    for number, row in enumerate(costs[1:], 1):
        for at in break_even(row, costs[0]):
            where = _place(at, across), number - 0.5, number + 0.5
            _upright(drawn, *where, "#fefefe", 4, "solid")
            _upright(drawn, *where, "#000000", 2, "dot")
    for column, (one, other) in enumerate(pairwise(best)):
        if one is None or other is None or one == other:
            continue
        for at in break_even(costs[one], costs[other]):
            if across[column] <= at <= across[column + 1]:
                where = _place(at, across), -0.5, len(costs) - 0.5
                _upright(drawn, *where, "#000000", 5, "solid")
                _upright(drawn, *where, "#fefefe", 2.5, "solid")


def _upright(
    drawn: go.Figure, x: float, low: float, high: float, colour: str, width: float, dash: str
) -> None:
    line = {"color": colour, "width": width, "dash": dash}
    drawn.add_shape(type="line", x0=x, x1=x, y0=low, y1=high, line=line)


def _place(at: float, across: list[float]) -> float:
    """Between numbered columns, by logarithm."""
    after = next(n for n, x in enumerate(across) if x >= at)
    low, high = across[after - 1], across[after]
    return after - 1 + (log10(at) - log10(low)) / (log10(high) - log10(low))


def lines_figure(study: Study, grid: pd.DataFrame, measure: Measure) -> go.Figure:
    """A line for each row, on logarithmic axes, and where it crosses the first."""
    across = [number_of(str(c)) for c in grid.columns]
    drawn = figure(
        x=last(str(grid.columns.name)),
        y=measure.title,
        height=420,
        xaxis_type="log" if min(across) > 0 else "linear",
        xaxis_tickvals=across,
        xaxis_ticktext=[short(str(c), 12) for c in grid.columns],
    )
    costs = [dict(zip(across, map(float, row), strict=True)) for row in grid.to_numpy()]
    for number, (name, row) in enumerate(zip(grid.index, costs, strict=True)):
        known = {x: y for x, y in row.items() if isfinite(y)}
        drawn.add_trace(
            go.Scatter(
                x=list(known),
                y=list(known.values()),
                name=short(f"{last(str(grid.index.name))} {name}", 30),
                mode="lines+markers",
                line={
                    "color": COLOURS[number % len(COLOURS)][0],
                    "dash": DASHES[number % len(DASHES)],
                    "width": 2,
                },
                marker={"symbol": MARKERS[number % len(MARKERS)], "size": 7},
                text=[measure.show(y) for y in known.values()],
                hovertemplate="%{x:.4s}: %{text}<extra>%{fullData.name}</extra>",
            )
        )
    if min(across) > 0:
        _rings(drawn, costs, [str(name) for name in grid.index], measure)
    return drawn


def _rings(
    drawn: go.Figure, costs: list[dict[float, float]], names: list[str], measure: Measure
) -> None:
    found = [
        (at, _between(costs[one], at), names[one], names[other])
        for one, other in combinations(range(len(costs)), 2)
        for at in break_even(costs[one], costs[other])
    ]
    if not found:
        return
    drawn.add_trace(
        go.Scatter(
            x=[at for at, *_ in found],
            y=[cost for _, cost, *_ in found],
            mode="markers",
            name="break-even",
            marker={
                "symbol": "circle",
                "size": 11,
                "color": PAPER,
                "line": {"color": INK, "width": 2},
            },
            text=[
                f"{one} and {other} break even at {at:.4g}: {measure.show(cost)}"
                for at, cost, one, other in found
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    )


def _between(costs: dict[float, float], at: float) -> float:
    """On the line that is drawn, straight on logarithmic axes."""
    known = sorted(x for x, y in costs.items() if isfinite(y) and y > 0)
    after = next(n for n, x in enumerate(known) if x >= at)
    low, high = known[after - 1], known[after]
    part = (log10(at) - log10(low)) / (log10(high) - log10(low))
    return float(costs[low] * (costs[high] / costs[low]) ** part)
