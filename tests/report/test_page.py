import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simfl.errors import ScenarioError, TraceError
from simfl.record import Trace
from simfl.report import write_page
from simfl.report.page import page_of


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
    write_page([run.path, ring.path, study], out)
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
    write_page([run.path], page)
    other.write_text("<p>mine</p>")
    for out, says in (
        (other, "stands already"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "x.html", "there is no folder"),
    ):
        with pytest.raises(ScenarioError, match=says):
            write_page([run.path], out)
    assert other.read_text() == "<p>mine</p>"


def test_what_is_no_trace_is_told(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        write_page([tmp_path / "no.h5"], tmp_path / "x.html")


def test_figures_for_a_paper(run: Trace, study: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from simfl.report.paper import save_runs, save_study
    from simfl.report.study import read_study

    drawn = save_runs({"pruned": run}, tmp_path / "x", "pdf", [0.5])
    drawn += save_study(read_study(study), tmp_path / "x", "png")
    assert [path.name for path in drawn] == ["x-accuracy.pdf", "x-rounds.pdf", "x-heatmap.png"]
    assert drawn[0].read_bytes().startswith(b"%PDF")
    assert drawn[2].read_bytes().startswith(b"\x89PNG")
