"""Figures for a paper, by matplotlib: PNG or PDF files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simfl.record import Trace
from simfl.record.critical_path import critical_path
from simfl.reporting.curves import curve, targets_of, targets_table
from simfl.reporting.palette import COLOURS, PARTS
from simfl.reporting.study import MEASURES, Study, break_even, number_of
from simfl.reporting.study_charts import grid_of, slices
from simfl.reporting.worlds import band

_WIDTH_IN: Final = 7.0
_DPI: Final = 300
_STYLE: Final[Any] = {
    "font.size": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    # text stays text, as journals ask
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
_LINES: Final = ("-", "--", ":", "-.")


def save_runs(
    runs: Mapping[str, Trace], stem: Path, ending: str, targets: Sequence[float] = ()
) -> list[Path]:
    """Accuracy against seconds, bytes and joules, the time to it, and the mean round by part.

    Shaded, and as whiskers: from the 5 to the 95 % point of a run's possible worlds.

    Args:
        runs: traces by name.
        stem: of the files' names.
        ending: ``png`` or ``pdf``.
        targets: accuracies to mark; else as on the page.

    Returns:
        The files.
    """
    wanted, chosen = targets_of(runs, list(targets))
    with mpl.rc_context(_STYLE):
        figures = {
            "accuracy": _accuracy(runs, wanted),
            "target": _target(runs, wanted, chosen),
            "rounds": _rounds(runs),
        }
        return [_save(f, stem, name, ending) for name, f in figures.items() if f is not None]


def save_study(study: Study, stem: Path, ending: str) -> list[Path]:
    """A heat map for each slice of the study, of its first known measure."""
    axes = study.axes()
    if axes is None or not study.measures:
        return []
    measure = next(iter(study.measures))
    paths = []
    with mpl.rc_context(_STYLE):
        for number, (text, points) in enumerate(slices(study, *axes), 1):
            grid = grid_of(study, points, *axes, measure)
            values = grid.to_numpy(dtype=float)
            drawn, axis = _figure(1, 1.0 + 0.35 * len(grid))
            shown = np.log10(
                np.where(values > 0, np.where(np.isfinite(values), values, np.nan), np.nan)
            )
            mesh = axis[0].imshow(shown, aspect="auto", origin="lower", cmap="cividis_r")
            middle = (np.nanmin(shown, initial=np.inf) + np.nanmax(shown, initial=-np.inf)) / 2
            for (row, column), value in np.ndenumerate(values):
                dark = np.isfinite(shown[row, column]) and shown[row, column] > middle
                axis[0].text(
                    *(column, row, MEASURES[measure].show(float(value))),
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize=7,
                )
            axis[0].set(
                xticks=range(len(grid.columns)),
                xticklabels=grid.columns,
                yticks=range(len(grid)),
                yticklabels=grid.index,
                xlabel=axes[0],
                ylabel=axes[1],
                title=text,
            )
            axis[0].grid(False)
            if study.numeric(axes[0]):
                _even(axis[0], values, [number_of(str(c)) for c in grid.columns])
            drawn.colorbar(mesh, ax=axis[0], label=f"log10 of {MEASURES[measure].called}")
            name = "heatmap" if not text else f"heatmap-{number}"
            paths.append(_save(drawn, stem, name, ending))
    return paths


def _even(axis: Axes, values: np.ndarray[Any, Any], across: list[float]) -> None:
    """Where each row costs as much as the first."""
    costs = [dict(zip(across, map(float, row), strict=True)) for row in values]
    for number, row in enumerate(costs[1:], 1):
        for at in break_even(row, costs[0]):
            place = float(np.interp(np.log10(at), np.log10(across), range(len(across))))
            axis.plot([place] * 2, [number - 0.5, number + 0.5], "k:", linewidth=1.5)


def _accuracy(runs: Mapping[str, Trace], targets: Sequence[float]) -> Figure | None:
    curves = {name: curve(trace) for name, trace in runs.items()}
    wanted = [
        (column, title, scale)
        for column, title, scale in (
            ("time_s", "simulated seconds", 1.0),
            ("sent_bytes", "MiB sent", 2.0**-20),
            ("joules", "kJ of the clients or peers", 1e-3),
        )
        if any(found[column].notna().any() for found in curves.values())
    ]
    if not wanted:
        return None
    drawn, axes = _figure(len(wanted), 2.6)
    for axis, (column, title, scale) in zip(axes, wanted, strict=True):
        for number, (name, found) in enumerate(curves.items()):
            axis.plot(
                found[column] * scale,
                found["accuracy"],
                _LINES[number % len(_LINES)],
                color=COLOURS[number % len(COLOURS)][0],
                linewidth=1.2,
                label=name,
            )
            if column in ("time_s", "joules"):
                area = band(runs[name], column)
                axis.fill_between(
                    area[column] * scale,
                    area["low"],
                    area["high"],
                    color=COLOURS[number % len(COLOURS)][0],
                    alpha=0.25,
                    linewidth=0,
                )
        for target in targets:
            axis.axhline(target, color="0.5", linewidth=0.6, linestyle=":")
        axis.set(xlabel=title)
    axes[0].set(ylabel="test accuracy")
    axes[-1].legend(fontsize="small")
    return drawn


def _target(runs: Mapping[str, Trace], targets: list[float], chosen: str) -> Figure | None:
    """Bars of the seconds to each accuracy, with the median and most of the worlds."""
    if not targets:
        return None
    rows = targets_table(runs, targets, chosen).frame
    reached, at = np.isfinite(rows["time_s"]), np.arange(len(rows))
    names = [
        name + f", {target:g}" * (len(targets) > 1) + ": never" * (not there)
        for name, target, there in zip(rows["run"], rows["accuracy"], reached, strict=True)
    ]
    drawn, axes = _figure(1, 0.8 + 0.3 * len(rows))
    axes[0].barh(at, rows["time_s"].where(reached, 0), color=COLOURS[0][0], height=0.6)
    low, median, high = (rows[f"time_p{share}_s"] for share in ("05", "50", "95"))
    known = np.isfinite(median).to_numpy()
    if known.any():
        top = high.where(np.isfinite(high), median)
        axes[0].errorbar(
            median[known],
            at[known],
            xerr=[(median - low)[known], (top - median)[known]],
            fmt="kD",
            markerfacecolor="white",
            markersize=3.5,
            capsize=2.5,
            linewidth=1,
            label="median, 5 to 95 % of possible worlds",
        )
        axes[0].legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))
    axes[0].set_yticks(at, names)
    axes[0].invert_yaxis()
    to = f"accuracy {targets[0]:g}" if len(targets) == 1 else "an accuracy"
    axes[0].set(xlabel=f"simulated seconds to {to}")
    return drawn


def _rounds(runs: Mapping[str, Trace]) -> Figure | None:
    means = {name: critical_path(trace).mean() for name, trace in runs.items()}
    means = {name: mean for name, mean in means.items() if mean["length_s"] > 0}
    if not means:
        return None
    drawn, axes = _figure(1, 0.8 + 0.3 * len(means))
    before = np.zeros(len(means))
    hatches = {"": "", "/": "//", "\\": "\\\\", "x": "xx", ".": ".."}
    for part, (colour, hatch, called) in PARTS.items():
        wide = np.array([mean[f"{part}_s"] for mean in means.values()])
        if wide.any():
            axes[0].barh(
                *(list(means), wide),
                left=before,
                color=colour,
                hatch=hatches[hatch],
                edgecolor="white",
                linewidth=0,
                label=called,
            )
        before += wide
    axes[0].invert_yaxis()
    axes[0].set(xlabel="seconds of a round, mean, along its critical path")
    axes[0].legend(fontsize="small", ncols=5, loc="lower left", bbox_to_anchor=(0, 1))
    return drawn


def _figure(columns: int, height: float) -> tuple[Figure, list[Axes]]:
    drawn = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
    axes = drawn.subplots(1, columns, squeeze=False, sharey=True)[0]
    return drawn, list(axes)


def _save(drawn: Figure, stem: Path, name: str, ending: str) -> Path:
    path = stem.with_name(f"{stem.name}-{name}.{ending}")
    drawn.savefig(path, dpi=_DPI)
    return path
