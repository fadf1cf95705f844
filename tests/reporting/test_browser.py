"""The page in a real browser: Chromium, by Playwright."""

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simfl.record import Trace
from simfl.reporting import Sources, write_page

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def page_file(run: Trace, ring: Trace, study: Path) -> Path:
    out = study.with_name("browser.html")
    write_page(Sources.read([run.path, ring.path, study]), out)
    return out


@pytest.fixture(scope="module")
def worlds_file(worlds: Trace) -> Path:
    """A page of a run that has repeats."""
    out = worlds.path.with_name("worlds.html")
    write_page(Sources.read([worlds]), out)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, page_file: Path) -> Iterator[Any]:
    """Opens the page; at the end nothing may have been said on the console, nothing fetched."""
    said: list[str] = []
    contexts = []

    def open_(
        width: int = 1440, scheme: str = "light", file: Path = page_file, **options: Any
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("file:", "data:", "blob:"))
                else said.append(asked.url)
            ),
        )
        page.goto(file.as_uri())
        until(page, "document.documentElement.dataset.ready === 'yes'")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []


def until(page: Any, condition: str) -> None:
    """Wait for it; Playwright's own wait would need `eval`, which the page forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {condition}")


def block(page: Any, title: str) -> Any:
    return page.locator(".block", has=page.locator(f"h3:text-is('{title}')"))


@pytest.mark.parametrize("of", ["page_file", "worlds_file"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_all_is_drawn_and_nothing_is_cut(
    open_page: Any, width: int, scheme: str, of: str, request: pytest.FixtureRequest
) -> None:
    page = open_page(width, scheme, request.getfixturevalue(of))
    undrawn = (
        "[...document.querySelectorAll('.chart')].filter((c) => !c.querySelector('.main-svg'))"
    )
    assert page.evaluate(f"{undrawn}.length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.chart')].flatMap((chart) => {
          const svg = chart.querySelector('.main-svg').getBoundingClientRect();
          const all = '.xtick text, .ytick text, .legendtext, .xtitle, .ytitle';
          return [...chart.querySelectorAll(all)]
            .filter((text) => {
              const box = text.getBoundingClientRect();
              return box.width && (box.left < svg.left - 1 || box.right > svg.right + 1
                || box.top < svg.top - 1 || box.bottom > svg.bottom + 1);
            }).map((text) => chart.ariaLabel + ': ' + text.textContent);
        })"""
    )
    assert cut == []
    # labels of one axis do not lie on each other
    over = page.evaluate(
        """() => [...document.querySelectorAll('.chart')].flatMap((chart) => {
          const texts = [...chart.querySelectorAll('.ytick text')];
          const boxes = texts.map((text) => text.getBoundingClientRect());
          boxes.sort((a, b) => a.top - b.top);
          return boxes.slice(1).filter((box, n) => box.top < boxes[n].bottom - 3)
            .map(() => chart.ariaLabel);
        })"""
    )
    assert over == []
    ink = page.evaluate("getComputedStyle(document.querySelector('.xtitle')).fill")
    assert ink == ("rgb(29, 33, 37)" if scheme == "light" else "rgb(231, 234, 238)")


def test_the_legend_hides_a_run(open_page: Any) -> None:
    page = open_page()
    chart = block(page, "Accuracy")
    assert chart.locator(".scatterlayer .trace").count() == 2
    chart.locator(".legendtoggle").first.click()
    until(page, "document.querySelector('.chart').data[0].visible === 'legendonly'")
    assert chart.locator(".scatterlayer .trace").count() == 1


def test_a_band_has_the_colour_of_its_run_and_goes_with_it(
    open_page: Any, worlds_file: Path
) -> None:
    page = open_page(scheme="dark", file=worlds_file)
    chart = block(page, "Accuracy")
    fill = chart.locator(".js-fill").evaluate("path => getComputedStyle(path).fill")
    line = chart.locator(".js-line").last.evaluate("path => getComputedStyle(path).stroke")
    assert fill == line == "rgb(79, 179, 238)"
    chart.locator(".legendtoggle").click()
    until(page, "document.querySelector('.chart').data[1].visible === 'legendonly'")
    assert chart.locator(".scatterlayer .trace").count() == 0


def test_hover_says_the_figures(open_page: Any, run: Trace) -> None:
    page = open_page()
    chart = block(page, "Accuracy")
    chart.scroll_into_view_if_needed()
    point = chart.locator(".scatterlayer .trace").first.locator(".point").last
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = chart.locator(".hoverlayer .hovertext")
    told.first.wait_for(timeout=5_000)
    assert f"accuracy {run.curve['accuracy'].iloc[-1]:.4f}" in told.first.text_content()


def test_axes_and_views_are_chosen(open_page: Any) -> None:
    page = open_page()
    chart = block(page, "Accuracy")
    chart.locator("select").select_option("bytes")
    assert "bytes" in chart.locator(".xtitle").text_content()
    chart.locator("input[data-axis=x]").check()
    layout = "document.querySelector('.chart').layout.xaxis.type"
    assert page.evaluate(layout) == "log"
    chart.locator("input[data-axis=x]").uncheck()
    assert page.evaluate(layout) != "log"


def values(table: Any, at: int) -> list[str]:
    return [
        str(cell.get_attribute("data-value")) for cell in table.locator(f"td:nth-child({at})").all()
    ]


def test_a_table_sorts_both_ways_with_the_unknown_last(open_page: Any) -> None:
    page = open_page()
    table = block(page, "Points")
    head = table.locator("th[data-name='time_s']")
    at = 1 + head.evaluate("head => head.cellIndex")
    head.locator("button").click()
    assert values(table, at) == [
        "8.0",
        "9.0",
        "12.0",
        "14.0",
        "15.0",
        "20.0",
        "30.0",
        "120.0",
        "nan",
    ]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert values(table, at)[0] == "120.0"
    assert values(table, at)[-1] == "nan"
    target = table.locator("th[data-name='target_s']")
    target.locator("button").click()
    assert values(table, 1 + target.evaluate("head => head.cellIndex"))[-3:] == [
        "inf",
        "inf",
        "nan",
    ]


def test_a_table_is_saved_with_all_digits_in_the_order_shown(
    open_page: Any, run: Trace, tmp_path: Path
) -> None:
    page = open_page()
    table = block(page, "Points")
    table.locator("th[data-name='time_s'] button").click()
    with page.expect_download() as saved:
        table.locator("button[data-do=csv]").click()
    assert saved.value.suggested_filename == "levels_points.csv"
    saved.value.save_as(tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["time_s"] for row in rows][:2] == ["8.0", "9.0"]
    assert rows[-1]["status"] == "failed: out of memory, <b>of course</b>"
    with page.expect_download() as saved:
        block(page, "Runs").locator("button[data-do=csv]").click()
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    first = next(csv.DictReader(io.StringIO(text)))
    assert float(first["accuracy"]) == run.curve["accuracy"].iloc[-1]


def test_a_chart_is_saved(open_page: Any) -> None:
    page = open_page()
    with page.expect_download() as saved:
        block(page, "Critical path of a round").locator("button[data-do=save]").click()
    assert saved.value.suggested_filename == "critical-path-of-a-round.svg"
    assert Path(saved.value.path()).read_text(encoding="utf-8").startswith("<svg")


def test_dark_paper_is_followed_while_open_and_print_is_light(open_page: Any) -> None:
    page = open_page(scheme="dark")
    fill = "getComputedStyle(document.querySelector('.xtitle')).fill"
    assert page.evaluate(fill) == "rgb(231, 234, 238)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(fill) == "rgb(29, 33, 37)"
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    page.set_viewport_size({"width": 700, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(fill) == "rgb(231, 234, 238)"
    page.emulate_media(color_scheme="light")
    until(page, f"{fill} === 'rgb(29, 33, 37)'")


def test_a_finger_can_scroll_past_a_chart(open_page: Any) -> None:
    page = open_page(390, has_touch=True, is_mobile=True)
    assert page.evaluate("document.querySelector('.chart').layout.dragmode") is False
    wide = block(page, "level by rate").locator(".chart")
    assert wide.evaluate("chart => chart.scrollWidth <= chart.clientWidth + 1")
