"""simfl whatif and sweep."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from re import compile as pattern
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

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

# as Ray writes addresses; a change has a sign of equality
_ADDRESS: Final = pattern(r"auto|local|[^=\s]+:[^=\s]*")


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


class _Sweep(TyperCommand):
    """Lets ``--ray`` stand alone: what follows it is an address where it looks like one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give ``--ray`` without an address an empty one."""
        given: list[str] = []
        for at, word in enumerate(args):
            given.append(word)
            if word == "--ray" and not _ADDRESS.fullmatch(" ".join(args[at + 1 : at + 2])):
                given.append("")
        return super().parse_args(ctx, given)


@app.command(cls=_Sweep)
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
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            show_default=False,
            help="Run the points on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; alone, the "
            "one of RAY_ADDRESS or of this machine. Every node must see the store.",
        ),
    ] = None,
    data_dir: DataDir = None,
    store: StoreDir = None,
    executor: Executor = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Run a scenario at every point of a grid; what learns the same trains once. Resumable.

    Points that failed are listed apart, in failed.csv.
    """
    from simfl import api, spreads
    from simfl.points import Points, changed_keys, show_failed, show_points

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
        ray=ray is not None and (ray or True),
        on_point=Points(err, quiet=quiet).show,
    )
    bad = found["status"].str.startswith("failed")
    ended, failed, beside = found[~bad], found[bad], folder / "failed.csv"
    _write_table(ended, table or folder / "sweep.csv")
    if bad.any():
        _write_table(failed[[*changed_keys(failed), "status", "trace"]], beside)
    else:
        beside.unlink(missing_ok=True)
    if not quiet:
        if len(ended):
            show_points(out, spreads.folded(ended.drop(columns="trace")), trained=False)
        show_failed(err, failed)
    _fail_if_any_failed(found, f"see {beside}; the others stand in {folder}")


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
