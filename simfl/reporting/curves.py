"""Accuracy against simulated seconds, bytes and joules."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from simfl.record import Trace
from simfl.record.curve import row_reached
from simfl.record.summary import summarise
from simfl.reporting.blocks import Chart, Column, Table, accuracy, count, joules, nbytes, seconds
from simfl.reporting.palette import COLOURS, DASHES, FAINT, MARKERS
from simfl.reporting.style import figure, short
from simfl.reporting.worlds import (
    band,
    band_trace,
    bands_note,
    columns_of,
    interval_figure,
    points,
    to_accuracy,
)

_AXES: Final = {
    "seconds": ("time_s", "simulated seconds"),
    "bytes": ("sent_bytes", "bytes sent, in all directions"),
    "joules": ("joules", "joules of the clients or peers"),
    "rounds": ("round", "rounds"),
}
_SPREAD: Final = ("time_s", "joules")
"""Of the axes, those along which the worlds of a run differ."""
_WORLDS: Final = (
    " Median, 5 and 95 % are those of a run's possible worlds (repeats); beside them is the run as "
    "it was recorded."
)
_NEVER: Final = Column(head="never in", show=count)
_DOTTED: Final = 60
_MOST: Final = 1_000


def curve(trace: Trace) -> pd.DataFrame:
    """Evaluations by round, with ``sent_bytes`` in both directions."""
    found = trace.curve
    return found.assign(sent_bytes=found["down_bytes"] + found["up_bytes"])


def accuracy_chart(runs: Mapping[str, Trace], targets: list[float]) -> Chart:
    """One line a run."""
    curves = {name: curve(trace) for name, trace in runs.items()}
    views = {}
    lacking = set()
    for label, (column, title) in _AXES.items():
        drawn = figure(x=title, y="test accuracy", height=420)
        for number, (name, found) in enumerate(curves.items()):
            if found[column].isna().all():
                lacking.add(name)
                continue
            if column in _SPREAD and len(area := band(runs[name], column)):
                drawn.add_trace(band_trace(area, column, COLOURS[number % len(COLOURS)][0], name))
            drawn.add_trace(_line(name, number, _thinned(found), column))
        for target in targets:
            drawn.add_hline(y=target, line={"color": FAINT, "dash": "dot", "width": 1})
        if drawn.data:
            views[label] = drawn
    says = "Evaluations of the server's model, or the mean of the peers' own."
    longest = max(map(len, curves.values()))
    if longest > _MOST:
        says += f" Of {longest:,} evaluations of a run at most {_MOST:,} are drawn, evenly chosen."
    if lacking:
        says += f" Joules are unknown of {', '.join(sorted(lacking))}: a device lacks watts."
    says = " ".join([says, bands_note(runs)]).strip()
    return Chart(title="Accuracy", says=says, views=views, log_x=False, log_y=False)


def _line(name: str, number: int, found: pd.DataFrame, column: str) -> go.Scatter:
    hover = [
        f"<b>{short(name, 40)}</b><br>round {row['round']:,}: accuracy {row['accuracy']:.4f}<br>"
        f"{seconds(row['time_s'])}, {nbytes(row['sent_bytes'])}, {joules(row['joules'])}"
        for row in found.to_dict("records")
    ]
    return go.Scatter(
        x=found[column].to_numpy(),
        y=found["accuracy"].to_numpy(),
        name=short(name, 40),
        legendgroup=name,
        mode="lines+markers" if len(found) <= _DOTTED else "lines",
        line={
            "color": COLOURS[number % len(COLOURS)][0],
            "dash": DASHES[(number // len(COLOURS) + number) % len(DASHES)],
            "width": 2,
        },
        marker={"symbol": MARKERS[number % len(MARKERS)], "size": 7},
        text=hover,
        hovertemplate="%{text}<extra></extra>",
    )


def _thinned(found: pd.DataFrame) -> pd.DataFrame:
    """At most so many rows, the first and the last among them."""
    if len(found) <= _MOST:
        return found
    at = [round(n * (len(found) - 1) / (_MOST - 1)) for n in range(_MOST)]
    return found.iloc[at]


def targets_of(runs: Mapping[str, Trace], asked: list[float]) -> tuple[list[float], str]:
    """The accuracies to reach, and who chose them."""
    if asked:
        return sorted(set(asked)), "asked for with --target"
    summaries = [summarise(trace) for trace in runs.values()]
    stated = {s.target for s in summaries if s.target is not None}
    if stated:
        return sorted(stated), "the scenarios' own"
    best = [s.best_accuracy for s in summaries if s.best_accuracy == s.best_accuracy]
    if not best:
        return [], ""
    # the highest whole percentage that every run reaches, so that none is "never"
    return [int(min(best) * 100) / 100], "the highest whole percentage that every run reaches"


def targets_table(runs: Mapping[str, Trace], targets: list[float], chosen: str) -> Table:
    """What each run needed to each accuracy."""
    rows = []
    for name, trace in runs.items():
        found, summary = curve(trace), summarise(trace)
        for target in targets:
            in_a_row = summary.consecutive if target == summary.target else 1
            at = row_reached(found, target, in_a_row)
            row = {"run": name, "accuracy": target, "in_a_row": in_a_row}
            for column in ("time_s", "sent_bytes", "down_bytes", "up_bytes", "joules", "round"):
                row[column] = float("inf") if at is None else float(found[column].iloc[at])
            worlds = to_accuracy(trace, summary, target, in_a_row)
            for column in _SPREAD:
                row |= points(column, worlds.get(column))
            timed = worlds.get("time_s")
            row |= {"worlds": len(trace.repeats), "never": timed.never if timed else float("nan")}
            rows.append(row)
    several = any(row["worlds"] for row in rows)
    return Table(
        title="To an accuracy",
        says=f"Seconds, bytes and joules until an evaluation first has the accuracy ({chosen}), as "
        "often in a row as the scenario's stop rule asks for its own, else once. Between two "
        f"evaluations nothing is interpolated.{_WORLDS if several else ''}",
        file="to_accuracy",
        frame=pd.DataFrame(rows),
        columns={
            "run": Column(head="run"),
            "accuracy": Column(head="accuracy", show=lambda v: f"{v:g}"),
            "in_a_row": Column(head="in a row"),
            "time_s": Column(head="time", show=seconds),
            **(columns_of("time_s", "time", seconds) if several else {}),
            **({"worlds": Column(head="worlds"), "never": _NEVER} if several else {}),
            "sent_bytes": Column(head="bytes", show=nbytes),
            "down_bytes": Column(head="down", show=nbytes),
            "up_bytes": Column(head="up", show=nbytes),
            "joules": Column(head="energy", show=joules),
            **(columns_of("joules", "energy", joules) if several else {}),
            "round": Column(head="round", show=count),
        },
    )


def intervals_chart(table: Table) -> list[Chart]:
    """The table's seconds and joules as bars, where there is something to compare.

    Args:
        table: of `targets_table`.
    """
    views = {}
    several = table.frame["worlds"].any()
    for target, rows in table.frame.groupby("accuracy"):
        for column, title, show in (
            ("time_s", "simulated seconds", seconds),
            ("joules", "joules of the clients or peers", joules),
        ):
            known = rows[column].map(isfinite).any()
            if known and (len(rows) > 1 or several):
                label = f"{'seconds' if column == 'time_s' else 'joules'} to {target:g}"
                views[label] = interval_figure(rows, column, title, show)
    says = "Bars: runs as they were recorded."
    if several:
        says += (
            " Diamonds: the median of a run's possible worlds (repeats); the whiskers reach from "
            "their 5 to their 95 % point; where these end in the diamond, too many worlds never "
            "get there for one, and the table has how many."
        )
    return [Chart(title="Time to an accuracy", says=says, views=views)] if views else []


def summary_table(runs: Mapping[str, Trace]) -> Table:
    """Each run in a row."""
    rows = []
    for name, trace in runs.items():
        found = summarise(trace)
        rows.append(
            {
                "run": name,
                "accuracy": found.accuracy,
                "best_accuracy": found.best_accuracy,
                "time_s": found.time_s,
                "rounds": found.rounds,
                "round_s": found.round_s,
                "down_bytes": found.down_bytes,
                "up_bytes": found.up_bytes,
                "joules": found.joules,
                **points("time_s", found.repeats.get("time_s")),
                **points("joules", found.repeats.get("joules")),
                "worlds": len(trace.repeats),
                "stored": found.nonzero / found.size if found.size else float("nan"),
                "parameters": found.size,
                "ended_by": trace.status.removeprefix("complete: "),
            }
        )
    several = any(row["worlds"] for row in rows)
    return Table(
        title="Runs",
        says="Of whole runs. Seconds are simulated; bytes are those of messages, without headers "
        "of the network; energy is that of all clients or peers, without radios whose watts are "
        f"not known.{_WORLDS if several else ''}",
        file="runs",
        frame=pd.DataFrame(rows),
        columns={
            "run": Column(head="run"),
            "accuracy": Column(head="accuracy, last", show=accuracy),
            "best_accuracy": Column(head="best", show=accuracy),
            "time_s": Column(head="time", show=seconds),
            **(columns_of("time_s", "time", seconds) if several else {}),
            **({"worlds": Column(head="worlds")} if several else {}),
            "rounds": Column(head="rounds", show=count),
            "round_s": Column(head="mean round", show=seconds),
            "down_bytes": Column(head="down", show=nbytes),
            "up_bytes": Column(head="up", show=nbytes),
            "joules": Column(head="energy", show=joules),
            **(columns_of("joules", "energy", joules) if several else {}),
            "stored": Column(head="stored at the end", show=lambda v: f"{v:.2%}"),
            "parameters": Column(head="parameters", show=count),
            "ended_by": Column(head="ended by"),
        },
    )
