"""simfl report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simfl.commands.shared import Quiet, app, out
from simfl.errors import ScenarioError


@app.command()
def report(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN.h5|STUDY.csv...",
            help="Traces of runs, and tables of sweeps and what-ifs.",
        ),
    ],
    out_path: Annotated[
        Path | None,
        typer.Option(
            "--out", show_default=False, help="The page. Else the first file's name with .html."
        ),
    ] = None,
    target: Annotated[
        list[float] | None,
        typer.Option(
            min=0, max=1, show_default=False, help="An accuracy to reach, and more of them."
        ),
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Figures for a paper, too.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="The same as PDF.")] = False,
    text: Annotated[bool, typer.Option("--text", help="The summary alone; no page.")] = False,
    quiet: Quiet = False,
) -> None:
    """Summarise runs and studies: as text, and as one HTML page with charts."""
    from simfl import terminal
    from simfl.record import Trace

    tables = [path for path in files if path.suffix in (".csv", ".parquet")]
    runs = [path for path in files if path not in tables]
    traces = [Trace(path) for path in runs]
    page = out_path or files[0].with_suffix(".html")
    if not text:
        from simfl.report import refuse_to_overwrite

        refuse_to_overwrite(page)
    if not quiet:
        for trace in traces:
            terminal.show_report(out, trace)
    if text:
        return
    from simfl.report import write_page

    write_page(files, page, target or ())
    written = [page]
    for ending in [ending for ending, wanted in (("png", png), ("pdf", pdf)) if wanted]:
        written += _figures(runs, tables, page.with_suffix(""), ending, target or [])
    if not quiet:
        for path in written:
            out.print(f"  written: {path}", markup=False)


def _figures(
    runs: list[Path], tables: list[Path], stem: Path, ending: str, targets: list[float]
) -> list[Path]:
    """Figures for a paper."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ScenarioError(f"--{ending}: needs matplotlib; pip install 'simfl[paper]'")
    from simfl.record import Trace
    from simfl.report.paper import save_runs, save_study
    from simfl.report.runs import names_of
    from simfl.report.study import read_study

    written = []
    if runs:
        traces = {name: Trace(path) for name, path in zip(names_of(runs), runs, strict=True)}
        written += save_runs(traces, stem, ending, targets)
    for name, path in zip(names_of(tables), tables, strict=True):
        named = stem if len(tables) == 1 else stem.with_name(f"{stem.name}-{name}")
        written += save_study(read_study(path), named, ending)
    return written
