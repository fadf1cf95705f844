"""How a run's figures spread over its possible worlds: bands, intervals, and their columns."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simfl.record import Trace
from simfl.record.repeats import SHARES, Spread, spreads_to
from simfl.record.summary import Summary
from simfl.reporting.blocks import Column, Show
from simfl.reporting.palette import BLUE, INK, PAPER
from simfl.reporting.style import figure, hatched, short

_SHOWN: Final = (0.05, 0.5, 0.95)
LOW, MEDIAN, HIGH = (SHARES.index(share) for share in _SHOWN)
_MOST: Final = 500
BAND: Final = (
    "Shaded: the 5 to 95 % points of the accuracies in a run's possible worlds (repeats), at each "
    "place of the axis; between two evaluations straight as the lines are, and behind its last one "
    "a world stays as it is."
)


def band(trace: Trace, column: str) -> pd.DataFrame:
    """Between what the accuracies of most worlds lie.

    Args:
        trace: a run.
        column: what it is against: ``time_s`` or ``joules``.

    Returns:
        Columns as ``column``, ``low`` and ``high``: the 5 and 95 % points. It begins with the last
        world's first evaluation, and ends with the last one before an accuracy that is not
        known in some world. Empty where there are no worlds, or their ``column`` is not known.
    """
    nothing = pd.DataFrame({column: [], "low": [], "high": []})
    found = trace.repeat_curves
    worlds = [curve for _, curve in found.groupby("draw")]
    if len(worlds) < 2 or found[column].isna().any():
        return nothing
    first = max(float(world[column].iloc[0]) for world in worlds)
    known = min(_known_until(world, column) for world in worlds)
    at = np.unique(found[column].to_numpy())
    at = at[(at >= first) & (at <= known)]
    if not len(at):
        return nothing
    if len(at) > _MOST:
        at = at[np.linspace(0, len(at) - 1, _MOST).round().astype(int)]
    held = [np.interp(at, world[column], world["accuracy"]) for world in worlds]
    low, high = np.quantile(held, (SHARES[LOW], SHARES[HIGH]), axis=0)
    return pd.DataFrame({column: at, "low": low, "high": high})


def _known_until(world: pd.DataFrame, column: str) -> float:
    """Where the last evaluation is before one that is not known; nowhere if all are."""
    unknown = world["accuracy"].isna().to_numpy()
    if not unknown.any():
        return inf
    first = int(unknown.argmax())
    return float(world[column].iloc[first - 1]) if first else -inf


def bands_note(runs: Mapping[str, Trace]) -> str:
    """What must be known to read the bands; nothing where no run has repeats."""
    repeated = {name: trace for name, trace in runs.items() if len(trace.repeats)}
    if not repeated:
        return ""
    told = [BAND]
    bare = [name for name, trace in repeated.items() if not len(trace.repeat_curves)]
    if bare:
        told.append(f"The worlds of {', '.join(bare)} were timed before their curves were kept.")
    cut = [n for n, trace in repeated.items() if trace.repeat_curves["accuracy"].isna().any()]
    if cut:
        told.append(f"Of {', '.join(cut)} it ends where an accuracy is not known in some world.")
    return " ".join(told)


def band_trace(found: pd.DataFrame, column: str, colour: str, name: str) -> go.Scatter:
    """The band as an area that the legend hides with its run."""
    return go.Scatter(
        x=np.concatenate([found[column], found[column][::-1]]),
        y=np.concatenate([found["low"], found["high"][::-1]]),
        name=name,
        legendgroup=name,
        showlegend=False,
        mode="lines",
        line={"width": 0, "color": colour},
        fill="toself",
        fillcolor=colour,
        opacity=0.25,
        hoverinfo="skip",
    )


def to_accuracy(
    trace: Trace, summary: Summary, target: float, in_a_row: int
) -> Mapping[str, Spread]:
    """Spreads of ``time_s`` and ``joules`` until an accuracy; those that are known."""
    if (target, in_a_row) == (summary.target, summary.consecutive):
        told = {"time_s": "target_s", "joules": "target_joules"}
        return {n: summary.repeats[of] for n, of in told.items() if of in summary.repeats}
    return spreads_to(trace, target, in_a_row)


def points(figure: str, spread: Spread | None) -> dict[str, float]:
    """A spread as cells: ``time_p05_s`` and its like."""
    return {
        _named(figure, share): spread.percentiles[SHARES.index(share)] if spread else nan
        for share in _SHOWN
    }


def columns_of(figure: str, head: str, show: Show) -> dict[str, Column]:
    """The columns of `points`."""
    heads = {share: "median" if share == 0.5 else f"{share * 100:.0f} %" for share in _SHOWN}
    return {_named(figure, n): Column(head=f"{head}, {heads[n]}", show=show) for n in _SHOWN}


def _named(figure: str, share: float) -> str:
    stem = figure.removesuffix("_s")
    return f"{stem}_p{share * 100:02.0f}{figure.removeprefix(stem)}"


def interval_figure(frame: pd.DataFrame, figure_of: str, title: str, show: Show) -> go.Figure:
    """Bars of what each run took, and on them what its worlds took.

    Args:
        frame: rows of `simfl.reporting.curves.targets_table`, of one accuracy.
        figure_of: its column, ``time_s`` or ``joules``.
        title: of the axis.
        show: a value as text.
    """
    frame = frame.reset_index(drop=True)
    reached = frame[figure_of].map(isfinite)
    drawn = figure(
        x=title,
        height=110 + 40 * len(frame),
        yaxis_tickvals=list(frame.index),
        yaxis_ticktext=[
            short(name) + ("" if there else ": never")
            for name, there in zip(frame["run"], reached, strict=True)
        ],
        yaxis_range=[len(frame) - 0.5, -0.5],
        yaxis_showgrid=False,
        xaxis_rangemode="tozero",
    )
    drawn.add_trace(
        go.Bar(
            orientation="h",
            y=list(frame.index),
            x=frame[figure_of].where(reached, 0.0).to_numpy(),
            name="the run",
            width=0.6,
            marker=hatched(BLUE, ""),
            text=[
                f"<b>{short(name, 40)}</b>: {show(value)}"
                for name, value in zip(frame["run"], frame[figure_of], strict=True)
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    low, median, high = (_named(figure_of, share) for share in _SHOWN)
    if median in frame and frame[median].map(isfinite).any():
        spread = frame[frame[median].map(isfinite)]
        drawn.add_trace(_whiskers(spread, spread[low], spread[median], spread[high], show))
    return drawn


def _whiskers(
    frame: pd.DataFrame,
    low: pd.Series[float],
    median: pd.Series[float],
    high: pd.Series[float],
    show: Show,
) -> go.Scatter:
    top = high.where(high.map(isfinite), median)
    return go.Scatter(
        y=list(frame.index),
        x=median.to_numpy(),
        mode="markers",
        name="in possible worlds: median, 5 to 95 %",
        marker={"symbol": "diamond", "size": 9, "color": PAPER, "line": {"color": INK, "width": 2}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (top - median).to_numpy(),
            "arrayminus": (median - low).to_numpy(),
            "color": INK,
            "thickness": 2,
            "width": 7,
        },
        text=[
            f"{worlds:.0f} worlds: median {show(b)}, 5 to 95 %: {show(a)} to {show(c)}"
            for worlds, a, b, c in zip(frame["worlds"], low, median, high, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )
