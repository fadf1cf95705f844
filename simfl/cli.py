"""The command line. Errors are one line each on standard error, and exit code 2."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from simfl.errors import ScenarioError, SimflError

if TYPE_CHECKING:
    from pandas import DataFrame

    from simfl.memo import Disk
    from simfl.record import Trace
    from simfl.scenario import Scenario

app = typer.Typer(
    name="simfl",
    help="How many seconds and bytes will this federated training need, on this network?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ScenarioName = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="A YAML file, or a name of `simfl list scenarios`."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes, e.g. learning.algorithm.level=5."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of data sets (MNIST/raw/... below it). Else SIMFL_DATA, else the cache."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
StoreDir = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="SIMFL_STORE",
        show_default=False,
        help="Folder of what was computed before. Else .simfl beside the trace.",
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


@app.command()
def run(
    scenario: ScenarioName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the scenario's seed.")] = None,
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
    loaded = _load(scenario, overrides, seed)
    from simfl import api, terminal

    if dry_run:
        parts, tape = api.plan(loaded, data_dir=data_dir)
        terminal.show_plan(out, parts, tape)
        return
    path = out_path or Path(loaded.record.path)
    _refuse_to_overwrite(path)
    screen = terminal.Live(out, quiet=quiet, clock=perf_counter)
    with _interruptible(path), screen:
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
    _finish(trace, quiet)


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
    with _interruptible(trace), screen:
        finished = api.resume(
            trace,
            data_dir=data_dir,
            store=False if no_store else store or True,
            executor=executor,
            workers=workers,
            listeners=screen.listeners,
        )
    _finish(finished, quiet)


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
    from simfl import api, terminal

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
        on_point=terminal.Points(err, quiet=quiet).show,
    )
    _write_table(found, table)
    if not quiet:
        terminal.show_points(out, found, trained=train)
    failed = found["status"].str.startswith("failed")
    if failed.any():
        _fail(f"{int(failed.sum())} of {len(found)} points failed; the table says why")


@app.command()
def sweep(
    scenario: ScenarioName,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="KEY.PATH=A,B,C...", help="Values to run; several make a grid."),
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
    from simfl import api, spreads, terminal

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
        on_point=terminal.Points(err, quiet=quiet).show,
    )
    _write_table(found, table or folder / "sweep.csv")
    if not quiet:
        shown = spreads.folded(found.drop(columns="trace"))
        terminal.show_points(out, shown, trained=False)
    failed = found["status"].str.startswith("failed")
    if failed.any():
        _fail(f"{int(failed.sum())} of {len(found)} points failed; the others stand in {folder}")


store_app = typer.Typer(
    name="store", help="What was computed before: look, and make room.", no_args_is_help=True
)
app.add_typer(store_app)
StoreFolder = Annotated[
    Path,
    typer.Argument(metavar="[FOLDER]", envvar="SIMFL_STORE", help="The store.", show_default=True),
]


@store_app.command()
def info(folder: StoreFolder = Path("runs/.simfl")) -> None:
    """Say what a store holds."""
    from simfl import terminal

    terminal.show_store(out, folder, _open_store(folder).info())


@store_app.command()
def gc(
    folder: StoreFolder = Path("runs/.simfl"),
    limit: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="What values may take from now on, e.g. '500 MB' or 0 B."
        ),
    ] = None,
) -> None:
    """Make room: let the least recently used values go, remove what killed runs left."""
    from simfl.units import show_bytes

    limit_bytes = None if limit is None else _size(limit)
    disk = _open_store(folder)
    freed = disk.evict(limit_bytes) + disk.tidy()
    out.print(f"{folder}: {show_bytes(freed)} freed; counts and scores are kept", markup=False)


@app.command()
def validate(scenario: ScenarioName, overrides: Overrides = None) -> None:
    """Check a scenario, its devices and its network; open no data."""
    loaded = _load(scenario, overrides, None)
    from simfl.assembly import check

    platform = check(loaded)
    for note in platform.notes:
        out.print(f"device: {note}", markup=False)
    for note in platform.wiring.notes:
        out.print(f"network: {note}", markup=False)
    out.print(f"{scenario}: valid", markup=False)


@app.command(name="verify-network")
def verify_network(
    file: Annotated[Path, typer.Argument(help="Measured transfers, one JSON case a line.")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Where predictions go, a line a case.", show_default=False),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Seeds per case; the median is told.")] = 31,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 1,
    fair: Annotated[
        bool, typer.Option("--fair", help="Fair shares instead of congestion windows.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Hold the network model against measured TCP transfers."""
    from rich.progress import track

    from simfl import terminal
    from simfl.verification import predict, read_cases, table_of, write_predictions

    cases = read_cases(file)
    hidden = quiet or not err.is_terminal
    playing = track(cases, "playing", console=err, transient=True, disable=hidden)
    predicted = [predict(case, repeats=repeats, seed=seed, windows=not fair) for case in playing]
    if out_file is not None:
        write_predictions(out_file, cases, predicted)
    if not quiet:
        terminal.show_verification(out, table_of(cases, predicted))


@app.command()
def profile(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="With --check: what to measure, a name of `simfl list models` or FILE.py:NAME.",
        ),
    ] = None,
    out_file: Annotated[Path, typer.Option("--out", help="The device file.")] = Path(
        "my_device.yaml"
    ),
    name: Annotated[
        str | None, typer.Option(show_default=False, help="Of the device; else the file's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch.")] = 1,
    budget: Annotated[
        float, typer.Option(min=1, help="Seconds to measure, about; more for a slow board.")
    ] = 120,
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL", show_default=False, help="Measure this network too, at two batches."
        ),
    ] = None,
    input_: Annotated[
        str, typer.Option("--input", help="Shape of one input of --anchor and --check.")
    ] = "1x28x28",
    batches: Annotated[str, typer.Option(help="Batches of --check.")] = "2,8,32",
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DEVICE.yaml", show_default=False, help="Hold this file against measurements."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py", show_default=False, help="Write the script that measures a board."
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="JSON", show_default=False, help="What that script wrote on a board."
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            show_default=False,
            help="Take radio, watts and battery, which are not measured, from this device.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure this machine, or a board, and write a device file; or check one."""
    from simfl.profile.command import Request, run_profile

    request = Request(
        models=tuple(models or ()),
        out=out_file,
        name=name or out_file.stem,
        device=device,
        threads=threads,
        budget_s=budget,
        anchors=tuple(anchor or ()),
        shape=input_,
        batches=batches,
        check=check,
        export=export,
        found=from_,
        like=like,
    )
    try:
        run_profile(request, out, err, quiet=quiet)
    except KeyboardInterrupt:
        err.print("stopped; what was measured is kept: go on with the same command", markup=False)
        sys.exit(130)


@app.command()
def report(trace: TracePath) -> None:
    """Summarise a trace as text."""
    from simfl import terminal
    from simfl.record import Trace

    terminal.show_report(out, Trace(trace))


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    algorithms = "algorithms"
    devices = "devices"
    codecs = "codecs"
    datasets = "datasets"
    topologies = "topologies"
    protocols = "protocols"
    networks = "networks"
    links = "links"
    scenarios = "scenarios"


class Held(StrEnum):
    """How weights are held."""

    dense = "dense"
    masked = "masked"
    coo = "coo"
    csr = "csr"


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of {', '.join(Kind)}.")],
    fits: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", show_default=False, help="Of devices: can they train this model?"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="With --fits: samples of a step.")] = 20,
    dataset: Annotated[
        str | None,
        typer.Option(show_default=False, help="With --fits: whose images; else --input."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="CxHxW", show_default=False, help="With --fits, e.g. 3x32x32."
        ),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="With --input.")] = 10,
    storage: Annotated[
        Held, typer.Option(help="With --fits: how weights are held while training.")
    ] = Held.dense,
    density: Annotated[
        float, typer.Option(min=0, max=1, help="Of weights that are not held dense.")
    ] = 1.0,
    data_dir: DataDir = None,
) -> None:
    """List what a scenario can name."""
    if fits is None:
        from simfl.listing import show_list

        show_list(out, kind.value)
        return
    if kind is not Kind.devices:
        raise ScenarioError(f"--fits: is a question to devices; simfl list devices --fits {fits}")
    if (dataset is None) == (images is None):
        raise ScenarioError("--fits: give --dataset NAME, or --input 3x32x32 --classes 10")
    if density < 1 and storage is Held.dense:
        raise ScenarioError("--density: of weights held dense all are stored; give --storage too")
    from simfl import fitting, terminal
    from simfl.work import Storage

    if dataset is not None:
        shape, classes = fitting.images_of(dataset, data_dir)
    else:
        shape = fitting.parse_images(images or "")
    work = fitting.training_of(
        fits,
        batch=batch,
        sample_shape=shape,
        classes=classes,
        storage=Storage(storage.value),
        density=density,
    )
    terminal.show_fits(out, fitting.every_device(work))


@app.command()
def show(
    device: Annotated[
        str,
        typer.Argument(metavar="DEVICE", help="A YAML file, or a name of `simfl list devices`."),
    ],
) -> None:
    """Show a device's figures, each with how it is known, and from where it pays to be sparse."""
    from simfl.device_listing import show_device

    show_device(out, device)


@app.command()
def schema() -> None:
    """Print the scenario's JSON Schema, for editors."""
    from simfl.scenario import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


def _open_store(folder: Path) -> Disk:
    from simfl.errors import StoreError
    from simfl.memo import Disk

    if not (folder / "index.sqlite").is_file():
        raise StoreError(f"{folder}: no store; give its folder, .simfl beside the traces")
    return Disk(folder)


def _size(text: str) -> int:
    from simfl.units import parse

    try:
        nbytes = int(parse(text, "size"))
    except ValueError as error:
        raise ScenarioError(f"--limit {text}: {error}") from error
    if nbytes < 0:
        raise ScenarioError(f"--limit {text}: give 0 B or more")
    return nbytes


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
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        found.to_csv(path, index=False)
        return
    found.to_parquet(path, index=False)


def _load(scenario: str, overrides: list[str] | None, seed: int | None) -> Scenario:
    from simfl.api import load

    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"seed={seed}")
    return load(scenario, changes)


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


def _finish(trace: Trace, quiet: bool) -> None:
    from simfl import terminal

    if not quiet:
        terminal.show_report(out, trace)


class _interruptible:
    """Ctrl-C leaves a trace that can be resumed, and says so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            err.print(f"interrupted; go on with: simfl resume {self._path}", markup=False)
            sys.exit(130)


def _fail(message: str) -> NoReturn:
    for line in message.splitlines():
        err.print(f"error: {line}", markup=False)
    sys.exit(2)


def main() -> None:
    """The entry point."""
    try:
        app(standalone_mode=True)
    except SimflError as error:
        _fail(str(error))
    except OSError as error:
        _fail(
            f"{error.filename or 'simfl'}: {error.strerror or error}; free space or mend the path"
        )


if __name__ == "__main__":
    main()
