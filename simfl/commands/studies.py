"""simfl whatif and sweep."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simfl.errors import ScenarioError

if TYPE_CHECKING:
    from pandas import DataFrame

from simfl.commands import completion
from simfl.commands.shared import (
    DataDir,
    Executor,
    Quiet,
    ScenarioName,
    StoreDir,
    Table,
    TracePath,
    Workers,
    app,
    err,
    fail,
    out,
)


@app.command()
def whatif(
    trace: TracePath,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY.PATH=A,B,C...",
            help="Values to try, e.g. 'platform.network.rate=1 Mbit/s,5 Mbit/s'; "
            "several keys make a grid.",
        ),
    ],
    train: Annotated[
        bool, typer.Option("--train", help="Train what is not recorded, and only that.")
    ] = False,
    table: Table = None,
    traces: Annotated[
        Path | None, typer.Option(help="Folder for a trace of each point; else none is written.")
    ] = None,
    data_dir: DataDir = None,
    store: StoreDir = None,
    executor: Executor = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Re-time a recorded run under other links, devices, codecs...; nothing is trained."""
    from simfl import api
    from simfl.points import Points, show_points

    _refuse_table(table)
    found = api.whatif(
        trace,
        *changes,
        train=train,
        data_dir=data_dir,
        store=store or True,
        executor=executor,
        workers=workers,
        folder=traces,
        on_point=Points(err, quiet=quiet).show,
    )
    _write_table(found, table)
    if not quiet:
        show_points(out, found, trained=train)
    _fail_if_any_failed(found, "the table says why")


@app.command()
def sweep(
    scenario: ScenarioName,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY.PATH=A,B,C...",
            help="Values to run; several make a grid.",
            autocompletion=completion.keys,
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the traces and their common store.")
    ] = Path("runs/sweep"),
    table: Table = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", help="Points that learn something else, side by side."),
    ] = 1,
    data_dir: DataDir = None,
    store: StoreDir = None,
    executor: Executor = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Run a scenario at every point of a grid; what learns the same trains once. Resumable."""
    from simfl import api, spreads
    from simfl.points import Points, show_points

    _refuse_table(table)
    found = api.sweep(
        scenario,
        *changes,
        folder=folder,
        data_dir=data_dir,
        store=store or True,
        executor=executor,
        workers=workers,
        jobs=jobs,
        on_point=Points(err, quiet=quiet).show,
    )
    _write_table(found, table or folder / "sweep.csv")
    if not quiet:
        shown = spreads.folded(found.drop(columns="trace"))
        show_points(out, shown, trained=False)
    _fail_if_any_failed(found, f"the others stand in {folder}")


def _fail_if_any_failed(found: DataFrame, rest: str) -> None:
    failed = found["status"].str.startswith("failed")
    if failed.any():
        fail(f"{int(failed.sum())} of {len(found)} points failed; {rest}")


def _refuse_table(path: Path | None) -> None:
    """Before anything is computed for it."""
    if path is None or path.suffix == ".csv":
        return
    if path.suffix != ".parquet":
        raise ScenarioError(f"--table {path}: give a name that ends in .csv or .parquet")
    if find_spec("pyarrow") is None:
        raise ScenarioError(
            f"--table {path}: Parquet needs pyarrow; pip install 'simfl[parquet]', or give a .csv"
        )


def _write_table(found: DataFrame, path: Path | None) -> None:
    """To a file, where one is named.

    Raises:
        OSError: it cannot be written.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        found.to_csv(path, index=False)
        return
    found.to_parquet(path, index=False)
