"""What all commands have: the application, the consoles, options, and how they end."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from simfl.commands import completion

if TYPE_CHECKING:
    from simfl.record import Trace
    from simfl.scenario import Scenario


_ORDER = (
    *("new", "run", "resume", "report", "trace", "whatif", "sweep", "optimize", "inference"),
    *("list", "show", "profile", "validate"),
)


class _InOrder(TyperGroup):
    """The help names commands in the order in which a person meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Those that matter first."""
        rest = [name for name in super().list_commands(ctx) if name not in _ORDER]
        return [*_ORDER, *rest]


app = typer.Typer(
    cls=_InOrder,
    name="simfl",
    help="How many seconds, bytes and joules will this federated training need, on this network?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ScenarioName = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A YAML file, or a name of `simfl list scenarios`.",
        autocompletion=completion.scenarios,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY.PATH=VALUE]...",
        help="Changes, e.g. learning.algorithm.level=5.",
        autocompletion=completion.keys,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of data sets (MNIST/raw/... below it). Else SIMFL_DATA, else the cache."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
StoreDir = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="SIMFL_STORE",
        show_default=False,
        help="Folder or URL of what was computed before. Else .simfl beside the trace.",
    ),
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Compute all anew, keep nothing.")]
Executor = Annotated[
    str,
    typer.Option(
        help="What runs the training: auto (measures), inline, batched, pool or cuda.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(show_default=False, help="Processes of a pool; else one for each core."),
]
Table = Annotated[Path | None, typer.Option(help="Write the points to this .csv or .parquet file.")]
TracePath = Annotated[Path, typer.Argument(metavar="RUN.h5", help="The trace of a run.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"simfl {version('simfl')}")
        raise typer.Exit


@app.callback()
def _configure(
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            show_default=False,
            help="Log each round; twice, each event.",
        ),
    ] = 0,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(format="%(message)s")
    logging.getLogger("simfl").setLevel(level)


def load(
    scenario: str, overrides: list[str] | None, seed: int | None, scale: str | None = None
) -> Scenario:
    """A scenario with the command line's changes."""
    from simfl.api import load

    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"seed={seed}")
    return load(scenario, changes, scale=scale)


def finish(trace: Trace, quiet: bool) -> None:
    """Show the report of a run that has ended."""
    from simfl import terminal

    if not quiet:
        terminal.show_report(out, trace)


def fail(message: str) -> NoReturn:
    """Say what is wrong, a line each, and exit with 2."""
    for line in message.splitlines():
        err.print(f"error: {line}", markup=False)
    sys.exit(2)
