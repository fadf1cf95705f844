"""simfl report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simfl.commands.shared import Quiet, app, out


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
    from simfl import api, terminal
    from simfl.record import Trace
    from simfl.reporting import refuse_to_overwrite

    tables = [path for path in files if path.suffix in (".csv", ".parquet")]
    read: list[Path | Trace] = [path if path in tables else Trace(path) for path in files]
    page = out_path or files[0].with_suffix(".html")
    if not text:
        refuse_to_overwrite(page)
    for trace in read:
        if isinstance(trace, Trace) and not quiet:
            terminal.show_report(out, trace)
    if text:
        return
    for path in api.report(*read, out=page, targets=target or (), png=png, pdf=pdf):
        if not quiet:
            out.print(f"  written: {path}", markup=False)
