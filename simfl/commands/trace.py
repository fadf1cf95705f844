"""simfl trace."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from simfl.commands.shared import Quiet, TracePath, app, out
from simfl.errors import ScenarioError


@app.command()
def trace(
    run: TracePath,
    perfetto: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its timeline, for ui.perfetto.dev; a name that ends in .json or .json.gz.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for its tables as .csv files.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for its tables as .parquet files.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for its curves, for TensorBoard.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a trace in forms that other tools open."""
    if not any((perfetto, csv, parquet, tensorboard)):
        raise ScenarioError("nothing to write; give --perfetto, --csv, --parquet or --tensorboard")
    if perfetto is not None and not perfetto.name.endswith((".json", ".json.gz")):
        raise ScenarioError(f"--perfetto {perfetto}: give a name that ends in .json or .json.gz")
    if parquet is not None and find_spec("pyarrow") is None:
        raise ScenarioError(
            f"--parquet {parquet}: needs pyarrow; pip install 'simfl[parquet]', or give --csv"
        )
    from simfl.record import Trace
    from simfl.record.export import write_tables
    from simfl.record.timeline import write

    read = Trace(run)
    said = []
    if perfetto is not None:
        perfetto.parent.mkdir(parents=True, exist_ok=True)
        written = write(read, perfetto)
        said.append(f"{perfetto}: {written:,} events; open it at ui.perfetto.dev")
    if csv is not None:
        said.append(f"{csv}: {len(write_tables(read, csv, 'csv'))} tables as CSV")
    if parquet is not None:
        said.append(f"{parquet}: {len(write_tables(read, parquet, 'parquet'))} tables as Parquet")
    if tensorboard is not None:
        from simfl.export.tensorboard import export

        said.append(f"{tensorboard}: {export(read, tensorboard):,} points for TensorBoard")
    for line in () if quiet else said:
        out.print(line, markup=False)
