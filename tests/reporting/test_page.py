import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import h5py
import pandas as pd
import pytest

import simfl
from simfl.errors import ScenarioError, SimflError, TraceError
from simfl.record import Trace
from simfl.record.schema import COLUMNS
from simfl.reporting import Sources, write_page
from simfl.reporting.page import page_of


class Outline(HTMLParser):
    """Ids, titles, and what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.fetched += [str(found[name]) for name in ("src",) if name in found]
        if tag == "link":
            self.fetched.append(str(found["href"]))
        self.ids += [str(found["id"])] if "id" in found else []
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "h3") and data.strip():
            self.headings.append(data)


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    return found


def test_a_page_has_all_and_fetches_nothing(run: Trace, ring: Trace, study: Path) -> None:
    out = study.with_name("page.html")
    write_page(Sources.read([run.path, ring.path, study]), out)
    page = out.read_text(encoding="utf-8")
    found = outline(page)
    assert found.fetched == []
    assert "default-src 'none'" in page
    assert len(found.ids) == len(set(found.ids))
    for heading in (
        *("Accuracy", "To an accuracy", "Critical path of a round", "The first rounds"),
        *("Link utilisation", "Bytes by layer", "Stored weights by layer", "Time to answer"),
        *("Utilisation", "Energy", "Assumptions and sources", "Data and versions"),
        *("level by rate", "Break-even", "Pareto fronts", "Points"),
    ):
        assert heading in found.headings
    assert len(page) < 7e6
    for text in re.findall(r'<script type="application/json">(.*?)</script>', page):
        assert json.loads(text)["data"]
    # what a user wrote stands as text
    assert "<b>of course</b>" not in page
    assert "&lt;b&gt;of course&lt;/b&gt;" in page


def test_only_a_page_is_written_over(run: Trace, tmp_path: Path) -> None:
    page, other = tmp_path / "a.html", tmp_path / "b.html"
    page.write_text(page_of("old", "", []), encoding="utf-8")
    write_page(Sources.read([run.path]), page)
    other.write_text("<p>mine</p>")
    for out, says in (
        (other, "stands already"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "x.html", "there is no folder"),
    ):
        with pytest.raises(ScenarioError, match=says):
            write_page(Sources.read([run.path]), out)
    assert other.read_text() == "<p>mine</p>"


def test_what_is_no_trace_is_told(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        write_page(Sources.read([tmp_path / "no.h5"]), tmp_path / "x.html")


def test_a_table_in_memory_is_its_file(study: Path) -> None:
    read = Sources.read([study, pd.read_csv(study), pd.read_csv(study)])
    assert list(read.studies) == ["levels", "table 2", "table 3"]
    assert read.studies["table 2"].points.equals(read.studies["levels"].points)
    with pytest.raises(ScenarioError, match="table 1: not the table of a sweep"):
        Sources.read([pd.DataFrame({"a": [1]})])


def test_what_is_told_from_python_is_what_the_command_prints(run: Trace, ring: Trace) -> None:
    told = simfl.report(run, ring.path, text=True)
    assert told.index(str(run.path)) < told.index(str(ring.path))
    assert "computing, each" in told
    assert "\x1b" not in told


def test_figures_for_a_paper(run: Trace, study: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "x.html"
    drawn = simfl.report(run, study, out=page, targets=[0.5], png=True, pdf=True)
    figures = ("accuracy", "target", "rounds", "heatmap")
    assert [path.name for path in drawn] == [
        "x.html",
        *(f"x-{figure}.{ending}" for ending in ("png", "pdf") for figure in figures),
    ]
    assert "asked for with --target" in page.read_text(encoding="utf-8")
    assert drawn[1].read_bytes().startswith(b"\x89PNG")
    assert drawn[5].read_bytes().startswith(b"%PDF")


def test_without_matplotlib_nothing_is_written(
    run: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("simfl.reporting.find_spec", lambda _: None)
    with pytest.raises(ScenarioError, match=r"--png: needs matplotlib; pip install"):
        simfl.report(run, out=tmp_path / "x.html", png=True)
    assert not list(tmp_path.iterdir())


def cut(trace: Trace, path: Path, activities: int) -> Path:
    """A trace as its writer leaves it where it is killed."""
    shutil.copy(trace.path, path)
    with h5py.File(path, "r+", libver="latest") as file:
        file["status"][0] = b"running"
        for table in COLUMNS:
            if table != "nodes":
                file[table].resize((activities if table == "activities" else 0,))
    return path


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_that_was_killed_is_drawn_as_far_as_it_came(
    number: int, run: Trace, ring: Trace, tmp_path: Path
) -> None:
    trace, out = (run, ring)[number], tmp_path / "x.html"
    simfl.report(cut(trace, tmp_path / "killed.h5", 2), out=out)
    page = out.read_text(encoding="utf-8")
    assert "not a complete run: running" in page
    assert "No message was sent." in page


def test_each_mistake_is_one_line(run: Trace, tmp_path: Path) -> None:
    out, bad = tmp_path / "x.html", tmp_path / "bad.h5"
    bad.write_bytes(run.path.read_bytes()[:5_000])
    empty = cut(run, tmp_path / "empty.h5", 0)
    for sources, where, says in (
        ([], out, "nothing to report; give"),
        ([tmp_path / "no.h5"], out, r"no\.h5: no such file; give the HDF5 file of a run"),
        ([bad], out, r"bad\.h5: not a whole trace"),
        ([empty], out, r"empty\.h5: nothing to draw: no activity is recorded \(running\); resume"),
        ([tmp_path / "no.csv"], out, r"no\.csv: no such file"),
        ([run], tmp_path / "no" / "x.html", "there is no folder"),
        # nobody may write there, whoever asks
        ([run], Path("/proc/self/x.html"), r"--out /proc/self/x\.html: cannot be written: "),
    ):
        if str(where).startswith("/proc") and not where.parent.is_dir():
            continue
        with pytest.raises(SimflError, match=says) as told:
            simfl.report(*sources, out=where)
        assert "\n" not in str(told.value)
    assert not out.exists()
