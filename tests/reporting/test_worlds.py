"""Spreads on the page: what it says of possible worlds is what the trace's repeats say."""

import json
import re
import shutil
from html.parser import HTMLParser
from math import inf, isnan
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

import simfl
from simfl.record import Trace
from simfl.record.repeats import spreads_to
from simfl.record.summary import summarise
from simfl.reporting.blocks import Table
from simfl.reporting.curves import accuracy_chart, intervals_chart, summary_table, targets_table
from simfl.reporting.study import read_study
from simfl.reporting.study_charts import heat_charts
from simfl.reporting.study_page import points_table
from simfl.reporting.worlds import band

SHARES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A run that ends by time: some worlds need what is not recorded."""
    stop = "stop={accuracy: 0.99, time: 21.5 s}"
    scenario = simfl.load(
        "smoke/prunefl_federated", ["record.evaluate_every=1", "repeats=12", stop]
    )
    out = tmp_path_factory.mktemp("timed") / "run.h5"
    trace = simfl.run(scenario, out=out, store=False, executor="inline", workers=1)
    assert 0 < trace.repeats["target_s"].isna().sum() < 12
    return trace


class Cells(HTMLParser):
    """Tables of a page by their file's name: rows of full values by column."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[dict[str, str]]] = {}
        self._file, self._names, self._at = "", [""], 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: str(value) for name, value in attrs}
        if "data-file" in found:
            self._file, self._names = found["data-file"], []
        elif tag == "th":
            self._names.append(found["data-name"])
        elif tag == "tr":
            self._at = 0
            if self._names:
                self.tables.setdefault(self._file, []).append({})
        elif tag == "td":
            self.tables[self._file][-1][self._names[self._at]] = found["data-value"]
            self._at += 1


def cells(page: str) -> dict[str, list[dict[str, str]]]:
    found = Cells()
    found.feed(page)
    return found.tables


def test_the_numbers_on_the_page_are_those_of_the_repeats(worlds: Trace, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    simfl.report(worlds, out=out)
    tables = cells(out.read_text(encoding="utf-8"))
    [whole], [reached] = tables["runs"], tables["to_accuracy"]
    for name, share in SHARES.items():
        for row, of, column in (
            (whole, "time_s", f"time_{name}_s"),
            (whole, "joules", f"joules_{name}"),
            (reached, "target_s", f"time_{name}_s"),
            (reached, "target_joules", f"joules_{name}"),
        ):
            assert float(row[column]) == pytest.approx(worlds.repeats[of].quantile(share)), column
    assert (whole["worlds"], reached["worlds"]) == ("8", "8")
    assert float(reached["never"]) == 0
    assert float(whole["time_s"]) == summarise(worlds).time_s


def test_the_band_is_drawn_from_the_worlds(worlds: Trace) -> None:
    curves = worlds.repeat_curves
    found = band(worlds, "time_s")
    # it begins where all worlds were evaluated, and ends with the last
    assert found["time_s"].iloc[0] == curves.groupby("draw")["time_s"].min().max()
    assert found["time_s"].iloc[-1] == curves["time_s"].max()
    for row in found.to_dict("records"):
        held = []
        for _, world in curves.groupby("draw"):
            before, after = world[world["time_s"] <= row["time_s"]], world["time_s"] > row["time_s"]
            low, accuracy = before["time_s"].iloc[-1], before["accuracy"].iloc[-1]
            if after.any():
                high = world[after].iloc[0]
                part = (row["time_s"] - low) / (high["time_s"] - low)
                accuracy += part * (high["accuracy"] - accuracy)
            held.append(accuracy)
        assert row["low"] == pytest.approx(pd.Series(held).quantile(0.05))
        assert row["high"] == pytest.approx(pd.Series(held).quantile(0.95))
    # in the middle the worlds differ, and the run is one of them
    assert (found["high"] - found["low"]).max() > 0.02
    area, line = accuracy_chart({"run": worlds}, []).views["seconds"].data
    assert (area.fill, area.legendgroup) == ("toself", line.legendgroup)
    assert list(area.y) == [*found["low"], *found["high"][::-1]]
    views = accuracy_chart({"run": worlds}, []).views
    assert [len(view.data) for view in views.values()] == [2, 1, 2, 1]


def test_what_is_drawn_is_thinned_without_moving_it(
    worlds: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = band(worlds, "time_s").set_index("time_s")
    monkeypatch.setattr("simfl.reporting.worlds._MOST", 7)
    some = band(worlds, "time_s").set_index("time_s")
    assert len(some) == 7
    assert {some.index[0], some.index[-1]} == {whole.index[0], whole.index[-1]}
    pd.testing.assert_frame_equal(some, whole.loc[some.index])


def test_an_accuracy_of_ones_own_is_reached_as_the_repeats_say(worlds: Trace, timed: Trace) -> None:
    for trace, target in ((worlds, 0.5), (timed, 0.99)):
        told = summarise(trace).repeats
        found = spreads_to(trace, target)
        assert found["time_s"] == told["target_s"]
        assert found["joules"] == told["target_joules"]
    assert spreads_to(timed, 0.99)["time_s"].unknown == timed.repeats["target_s"].isna().sum()


def test_another_accuracy_is_found_in_each_world(worlds: Trace) -> None:
    curves = worlds.repeat_curves
    # what the second round came to, every world has with it
    target = float(curves["accuracy"].iloc[2])
    seconds = curves[curves["round"] == 2]["time_s"]
    row = targets_table({"run": worlds}, [target, 1.0], "").frame.iloc[0]
    assert row["time_p50_s"] == pytest.approx(seconds.median())
    assert row["time_p95_s"] == pytest.approx(seconds.quantile(0.95))
    never = targets_table({"run": worlds}, [1.0], "").frame.iloc[0]
    assert (never["time_p05_s"], never["never"], never["worlds"]) == (inf, 8, 8)


def test_bars_have_whiskers(worlds: Trace, run: Trace) -> None:
    table = targets_table({"a": worlds, "b": run}, [0.5], "")
    [chart] = intervals_chart(table)
    assert list(chart.views) == ["seconds to 0.5", "joules to 0.5"]
    bars, whiskers = chart.views["seconds to 0.5"].data
    assert bars.x[0] == summarise(worlds).target_s
    target_s = worlds.repeats["target_s"]
    # a run without repeats has no whisker
    assert list(whiskers.x) == pytest.approx([target_s.median()])
    assert whiskers.x[0] + whiskers.error_x.array[0] == pytest.approx(target_s.quantile(0.95))
    assert whiskers.x[0] - whiskers.error_x.arrayminus[0] == pytest.approx(target_s.quantile(0.05))
    never = targets_table({"a": worlds, "b": run}, [1.0], "")
    assert intervals_chart(never) == []


def test_without_repeats_nothing_is_said_of_worlds(run: Trace) -> None:
    tables: list[Table] = [summary_table({"run": run}), targets_table({"run": run}, [0.2], "")]
    for table in tables:
        assert "worlds" not in table.says
        assert not [name for name in table.columns if "_p" in name or name == "worlds"]
    assert "Shaded" not in accuracy_chart({"run": run}, []).says
    assert intervals_chart(tables[1]) == []


def test_a_band_ends_where_an_accuracy_is_not_known(timed: Trace) -> None:
    curves = timed.repeat_curves
    first_s = curves["time_s"][curves["accuracy"].isna()].min()
    found = band(timed, "time_s")
    assert 0 < found["time_s"].max() < first_s
    assert not found.isna().any(axis=None)
    says = accuracy_chart({"run": timed}, []).says
    assert "Of run it ends where an accuracy is not known in some world." in says
    row = targets_table({"run": timed}, [0.99], "").frame.iloc[0]
    assert row["never"] == np.isinf(timed.repeats["target_s"]).sum()


def test_a_trace_without_the_worlds_curves_says_so(worlds: Trace, tmp_path: Path) -> None:
    path = tmp_path / "early.h5"
    shutil.copy(worlds.path, path)
    with h5py.File(path, "r+", libver="latest") as file:
        del file["repeat_curves"]
    early = Trace(path)
    assert early.repeat_curves.empty
    assert list(early.repeat_curves) == list(worlds.repeat_curves)
    assert band(early, "time_s").empty
    says = accuracy_chart({"early": early}, []).says
    assert "The worlds of early were timed before their curves were kept." in says
    # what the repeats themselves have is told
    own, other = (targets_table({"early": early}, [t], "").frame.iloc[0] for t in (0.5, 0.4))
    assert own["time_p50_s"] == worlds.repeats["target_s"].median()
    assert isnan(other["time_p50_s"])
    simfl.report(early, out=tmp_path / "x.html")


def test_figures_for_a_paper_have_the_interval(worlds: Trace, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from simfl.reporting import paper

    drawn: Any = paper._target({"run": worlds}, [0.5], "")
    [bar] = drawn.axes[0].patches
    assert bar.get_width() == summarise(worlds).target_s
    [caps] = drawn.axes[0].collections
    [[[low, _], [high, _]]] = caps.get_segments()
    target_s = worlds.repeats["target_s"]
    assert (low, high) == pytest.approx((target_s.quantile(0.05), target_s.quantile(0.95)))
    accuracy: Any = paper._accuracy({"run": worlds}, [])
    assert [len(axis.collections) for axis in accuracy.axes] == [1, 0, 1]
    paths = paper.save_runs({"run": worlds}, tmp_path / "x", "png")
    assert [path.name for path in paths] == ["x-accuracy.png", "x-target.png", "x-rounds.png"]


def test_a_study_states_medians(study: Path) -> None:
    points = pd.read_csv(study, dtype=str)
    at = points.columns.get_loc("rounds")
    for share in ("95", "50", "05"):
        points.insert(int(at), f"target_p{share}_s", points["target_s"])
    path = study.with_name("repeated.csv")
    points.to_csv(path, index=False)
    found = read_study(path)
    assert "time to target, median" in heat_charts(found, *(found.axes() or ("", "")))[0].views
    columns = points_table("x", found).columns
    heads = [columns[f"target_p{share}_s"].head for share in ("05", "50", "95")]
    assert heads == ["time to target, 5 %", "time to target, median", "time to target, 95 %"]
    assert columns["target_p05_s"].show(90.0) == "90.0 s"


def test_areas_are_on_the_page(worlds: Trace, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    simfl.report(worlds, out=out)
    texts = re.findall(
        r'<script type="application/json">(.*?)</script>', out.read_text(encoding="utf-8")
    )
    areas = [one for text in texts for one in json.loads(text)["data"] if one.get("fill")]
    assert len(areas) == 2
    # the page puts the dark colour in place of a light one, as of a line
    assert all(re.fullmatch("#[0-9a-f]{6}", area["fillcolor"]) for area in areas)
