"""The section of a page that is of a study: its charts, break-evens and points."""

from __future__ import annotations

import re
from itertools import combinations
from math import isinf, isnan
from typing import Final

import pandas as pd

from simfl.reporting.blocks import Column, Section, Show, Table, count
from simfl.reporting.pareto import pareto_chart
from simfl.reporting.study import MEASURES, Study, break_even, last, number_of
from simfl.reporting.study_charts import grid_of, heat_charts, slices

_PERCENTILE: Final = re.compile(r"(?P<stem>\w+)_p(?P<share>\d\d)(?P<unit>_s)?")
"""Of the worlds of a point with repeats: ``time_p05_s`` and its like."""


def study_sections(name: str, study: Study) -> list[Section]:
    """All there is to say of a study."""
    axes, failed = study.axes(), study.points["status"].str.startswith("failed")
    warnings = [f"{int(failed.sum())} of {len(failed)} points failed."] if failed.any() else []
    anew = study.points.get("anew")
    if anew is not None and (anew > 0).any():
        warnings.append(
            f"{int((anew > 0).sum())} of {len(failed)} points need local updates that are not "
            "recorded; the accuracies behind them are unknown."
        )
    return [
        Section(
            title=f"Study {name}",
            warnings=warnings,
            blocks=[
                *(heat_charts(study, *axes) if axes else []),
                *(break_even_tables(study, *axes) if axes else []),
                pareto_chart(study),
                points_table(name, study),
            ],
        )
    ]


def break_even_tables(study: Study, across: str, up: str) -> list[Table]:
    """Where any two rows cost the same, of what the heat map shows first."""
    measure = next(iter(study.measures), None)
    if measure is None or not study.numeric(across):
        return []
    rows = []
    for text, points in slices(study, across, up):
        grid = grid_of(study, points, across, up, measure)
        at = [number_of(str(c)) for c in grid.columns]
        costs = {r: dict(zip(at, map(float, grid.loc[r]), strict=True)) for r in grid.index}
        for one, other in combinations(costs, 2):
            for crossing in break_even(costs[one], costs[other]):
                before = max(x for x in at if x <= crossing)
                less = one if costs[one][before] < costs[other][before] else other
                rows.append(
                    {
                        "one": one,
                        "other": other,
                        "of": text,
                        "crossing": crossing,
                        "less_below": less,
                        "less_above": other if less == one else one,
                    }
                )
    columns = {
        "one": Column(head=last(up)),
        "other": Column(head="and"),
        "of": Column(head="of"),
        "crossing": Column(head=f"break even at {last(across)}", show=_quantity(study, across)),
        "less_below": Column(head="less below"),
        "less_above": Column(head="less above"),
    }
    if not any(row["of"] for row in rows):
        del columns["of"]
    says = (
        f"{MEASURES[measure].called.capitalize()}, every pair; interpolated between the points "
        "that were played, straight on logarithmic axes."
    )
    frame = pd.DataFrame(rows, columns=list(columns))
    return [Table(title="Break-even", says=says, file="break_even", frame=frame, columns=columns)]


def _quantity(study: Study, key: str) -> Show:
    """How a value of a key is written."""
    if all(text.endswith("bit/s") for text in study.values(key)):
        return lambda value: f"{value / 1e6:.4g} Mbit/s"
    return lambda value: f"{value:.4g}"


def points_table(name: str, study: Study) -> Table:
    """Every point; the file has all columns that are shown, with all digits."""
    columns = {}
    for column in study.points.columns:
        if column in MEASURES:
            measure = MEASURES[column]
            columns[str(column)] = Column(head=measure.called, show=measure.show)
        elif percentile := _PERCENTILE.fullmatch(str(column)):
            of = MEASURES[percentile["stem"] + (percentile["unit"] or "")]
            share = int(percentile["share"])
            columns[str(column)] = Column(head=f"{of.called}, {share} %", show=of.show)
        elif str(column) in ("down_bytes", "up_bytes"):
            columns[str(column)] = Column(
                head=str(column).removesuffix("_bytes"), show=MEASURES["sent_bytes"].show
            )
        elif str(column) not in ("trace", "first_anew", *study.alike):
            numeric = pd.api.types.is_numeric_dtype(study.points[column])
            columns[str(column)] = Column(head=str(column), show=_number if numeric else str)
    alike = ", ".join(f"{key}={value}" for key, value in study.alike.items())
    says = f"The same at all points: {alike}." if alike else ""
    return Table(
        title="Points", says=says, file=f"{name}_points", frame=study.points, columns=columns
    )


def _number(value: float) -> str:
    if isnan(value):
        return "-"
    if isinf(value):
        return "never"
    return count(value) if value == round(value) else f"{value:,.4g}"
