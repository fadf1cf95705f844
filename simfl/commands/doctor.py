"""simfl doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from simfl.commands.shared import DataDir, app, fail, out


@app.command()
def doctor(
    data_dir: DataDir = None,
    store: Annotated[
        str,
        typer.Option(
            "--store", envvar="SIMFL_STORE", help="Folder or URL of what was computed before."
        ),
    ] = "runs/.simfl",
) -> None:
    """Look at versions, data, GPU, store and disk; exit with 2 where something is broken."""
    from rich.table import Table
    from rich.text import Text

    try:
        from simfl.health import State, examine
    except ImportError as error:
        fail(f"broken: {error}; pip install the package, or simfl anew")

    styles = {State.good: "green", State.lacking: "yellow", State.broken: "bold red"}
    findings = list(examine(data_dir, store))
    table = Table(box=None, show_header=False)
    for name in ("state", "about"):
        table.add_column(name, no_wrap=True)
    table.add_column("found", overflow="fold")
    for one in findings:
        text = f"{one.found}; {one.mend}" if one.mend else one.found
        table.add_row(Text(one.state.value, styles[one.state]), Text(one.about, "bold"), Text(text))
    out.print(table)
    broken = [finding.about for finding in findings if finding.state is State.broken]
    if broken:
        fail(f"broken: {', '.join(broken)}")
