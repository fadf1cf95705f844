"""simfl run and resume."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from simfl.errors import ScenarioError, SimflError

if TYPE_CHECKING:
    pass

from simfl.commands.shared import (
    DataDir,
    Executor,
    NoStore,
    Overrides,
    Quiet,
    ScenarioName,
    StoreDir,
    TracePath,
    Workers,
    app,
    err,
    finish,
    load,
    out,
)


@app.command()
def run(
    scenario: ScenarioName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the scenario's seed.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="A share of its rounds and clients: 0.1, or rounds=0.1,clients=0.5."),
    ] = None,
    out_path: Annotated[
        Path | None, typer.Option("--out", help="The trace, instead of record.path.")
    ] = None,
    data_dir: DataDir = None,
    store: StoreDir = None,
    no_store: NoStore = False,
    executor: Executor = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run; train nothing.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check at every event that the network's bytes add up."),
    ] = False,
) -> None:
    """Run a scenario: train, time it, write the trace."""
    loaded = load(scenario, overrides, seed, scale)
    from simfl import api, terminal

    if dry_run:
        parts, tape = api.plan(loaded, data_dir=data_dir)
        terminal.show_plan(out, parts, tape)
        return
    path = out_path or Path(loaded.record.path)
    _refuse_to_overwrite(path)
    screen = terminal.Live(out, quiet=quiet, clock=perf_counter)
    with _Interruptible(path), screen:
        trace = api.run(
            loaded,
            data_dir=data_dir,
            out=path,
            store=False if no_store else store or True,
            executor=executor,
            workers=workers,
            listeners=screen.listeners,
            verify=verify,
        )
    finish(trace, quiet)


@app.command()
def resume(
    trace: TracePath,
    data_dir: DataDir = None,
    store: StoreDir = None,
    no_store: NoStore = False,
    executor: Executor = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Finish a run that was killed; what its trace or the store records is not computed again."""
    from simfl import api, terminal
    from simfl.record import Trace
    from simfl.record.repeats import lacking

    before = Trace(trace)
    if before.complete and not lacking(before) and not quiet:
        out.print(f"{trace}: complete already", markup=False)
    screen = terminal.Live(out, quiet=quiet, clock=perf_counter)
    with _Interruptible(trace), screen:
        finished = api.resume(
            trace,
            data_dir=data_dir,
            store=False if no_store else store or True,
            executor=executor,
            workers=workers,
            listeners=screen.listeners,
        )
    finish(finished, quiet)


def _refuse_to_overwrite(path: Path) -> None:
    """A trace that could still be resumed, or a file that is no trace, is never written over."""
    if not path.exists():
        return
    if path.is_dir():
        raise ScenarioError(f"{path}: is a folder; give the trace a file name with --out")
    from simfl.record import Trace

    try:
        status = Trace(path).status
    except SimflError as error:
        raise ScenarioError(
            f"{path}: stands already and is not a whole trace; remove it, or give another --out"
        ) from error
    if not status.startswith(("complete", "failed")):
        raise ScenarioError(
            f"{path}: an unfinished run; simfl resume {path}, remove it, or give another --out"
        )


class _Interruptible:
    """Ctrl-C leaves a trace that can be resumed, and says so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            err.print(f"interrupted; go on with: simfl resume {self._path}", markup=False)
            sys.exit(130)
