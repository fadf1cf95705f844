"""The documentation: every page is reached, every link leads somewhere, what it shows runs."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from simfl.answers import Draft, read_devices, read_learnt, read_network
from simfl.drafting import render

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MADE = {"reference/commands.md", "reference/scenario.md", "reference/plugins.md"}


class _Loader(yaml.SafeLoader):
    """MkDocs' own tags are of no interest here."""


def nav() -> set[str]:
    def leaves(part: Any) -> list[str]:
        if isinstance(part, str):
            return [part]
        inside = part.values() if isinstance(part, dict) else part
        return [leaf for item in inside for leaf in leaves(item)]

    return set(leaves(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=_Loader)["nav"]))


def slugs(text: str) -> set[str]:
    """Anchors of a page's headings."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[\s-]+", "-", word) for word in words}


def test_every_page_is_in_the_navigation() -> None:
    assert nav() == {str(page.relative_to(DOCS)) for page in PAGES} | MADE


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        made = target.is_relative_to(DOCS) and str(target.relative_to(DOCS)) in MADE
        assert target.exists() or made, link
        if anchor and target.suffix == ".md" and not made:
            assert anchor in slugs(target.read_text(encoding="utf-8")), link


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module that makes pages, where MkDocs is installed."""
    pytest.importorskip("mkdocs")
    spec = spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scenario_page_has_every_key_and_its_links_lead_to_a_heading(hooks: ModuleType) -> None:
    page = hooks.scenario_page()
    for heading in ("## Local", "### AlgorithmChoice: prunefl", "### NetworkChoice: star"):
        assert f"\n{heading}\n" in page
    assert "| `server_samples` | whole number, at least 1 | `200` | training samples that" in page
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= slugs(page)


def test_the_command_page_has_every_command(hooks: ModuleType) -> None:
    page = hooks.commands_page()
    for command in ("new", "run", "whatif", "doctor", "store info", "store gc", "schema"):
        assert f"\n## simfl {command}\n" in page
    assert "| `--dry-run` |  | Say what would run; train nothing. |" in page


def test_the_plug_in_page_has_sources(hooks: ModuleType) -> None:
    page = hooks.plugins_page()
    assert "\n### algorithms: feddip\n" in page
    assert "Source: Long et al. 2023, Algorithm 1" in page


def test_links_out_of_the_docs_become_paths(hooks: ModuleType) -> None:
    class Page:
        """As much of MkDocs' as is asked for."""

        class file:
            src_uri = "speed.md"

    text = "([how](../analysis/README.md)), [here](whatif.md)"
    shown = hooks.on_page_markdown(text, Page, None, None)
    assert shown == "(how (`analysis/README.md`)), [here](whatif.md)"


@pytest.mark.slow
def test_the_tutorial_runs_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draft = Draft(
        name="demo",
        learnt=read_learnt("digits"),
        algorithm="fedavg",
        groups=read_devices("2 pi4"),
        network=read_network("star"),
    )
    (tmp_path / "demo.yaml").write_text(render(draft).replace("rounds: 50", "rounds: 2"))
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "tutorial.md").read_text(), re.DOTALL)
    # an import, and five lines
    assert len([line for line in code.splitlines() if line]) == 6
    names: dict[str, Any] = {}
    exec(code, names)
    assert list(names["points"]["platform.network.access"]) == ["lte", "3g"]
    assert names["trace"]._repr_html_().startswith("<table>")
    assert list(names["study"]["seed"]) == [1, 2, 3]
    page = (tmp_path / "runs" / "notebook.html").read_text(encoding="utf-8")
    assert "<p>1 run and 2 studies</p>" in page
