"""simfl from Python: the same as the command line, with objects in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pandas as pd

from simfl import cluster, grid, optimization, resources, retiming, simulation
from simfl.cost.device import Device
from simfl.devices import load_device
from simfl.errors import ScenarioError, did_you_mean
from simfl.hosting import ExecutorName, Host, cores, store_beside
from simfl.memo import Shared
from simfl.memo.shared import is_url
from simfl.planning import Tape
from simfl.record import Trace
from simfl.repeating import repeated
from simfl.running import Parts
from simfl.scenario import Scenario
from simfl.scenario import load as load_file
from simfl.scenario.scale import parse, shortened
from simfl.search_space import dimension
from simfl.simulation import Listeners

if TYPE_CHECKING:
    from simfl.reporting import Source


def load(name: str | Path, overrides: Iterable[str] = (), *, scale: str | None = None) -> Scenario:
    """Read a scenario: a YAML file, or the name of a packaged one.

    Args:
        name: a path, or a name from ``simfl list scenarios``.
        overrides: ``key.path=value`` texts.
        scale: a share of its rounds and clients, as ``0.1`` or ``rounds=0.1,clients=0.5``; the
            scenario then says so.

    Raises:
        ScenarioError: no such scenario, or a wrong one.
    """
    path, changes = _found(name), list(overrides)
    loaded = load_file(path, changes)
    if scale is None:
        return loaded
    return load_file(path, [*changes, *shortened(loaded, **parse(scale))])


def device(name: str | Path) -> Device:
    """A device model: a YAML file, or the name of a packaged one.

    Its ``seconds(simfl.workload(module, shape, batch=32))`` are those of a step.

    Raises:
        CostError: no such device, or a wrong one.
    """
    return load_device(str(name))


def run(
    scenario: Scenario,
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    listeners: Listeners | None = None,
    verify: bool = False,
) -> Trace:
    """Run a scenario to its end, and time it again in as many worlds as it asks for.

    Args:
        scenario: what to run.
        data_dir: where data sets lie; left out, SIMFL_DATA, else the user's cache.
        out: the trace's path, instead of the scenario's.
        store: folder of what was computed before, or a URL for fsspec; True, ``.simfl`` beside the
            trace; False, none.
        executor: ``auto``, ``inline``, ``batched``, ``pool`` or ``cuda``.
        workers: processes of a pool; left out, as many as there are cores.
        listeners: who is told how it goes.
        verify: hold the network against its own books, at every event and at the end.

    Raises:
        SimflError: see `simfl.simulation.run`.
    """
    path = Path(out) if out else Path(scenario.record.path)
    host, listeners = make_host(path, store, executor, workers), listeners or Listeners()
    trace = simulation.run(
        scenario,
        data_dir=_path(data_dir),
        out=path,
        host=host,
        listeners=listeners,
        verify=verify,
    )
    return repeated(trace, host, listeners.repeat)


def resume(
    trace: str | Path,
    *,
    data_dir: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    listeners: Listeners | None = None,
) -> Trace:
    """Finish a run that was killed, and its repeats; arguments as of `run`.

    Raises:
        SimflError: see `simfl.simulation.resume`.
    """
    host, listeners = make_host(Path(trace), store, executor, workers), listeners or Listeners()
    whole = simulation.resume(Path(trace), data_dir=_path(data_dir), host=host, listeners=listeners)
    return repeated(whole, host, listeners.repeat)


def plan(scenario: Scenario, *, data_dir: str | Path | None = None) -> tuple[Parts, Tape]:
    """One round by counting, nothing trained; see `simfl.simulation.plan`."""
    return simulation.plan(scenario, _path(data_dir))


def whatif(
    trace: str | Path | Trace,
    *changes: str,
    train: bool = False,
    data_dir: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    folder: str | Path | None = None,
    on_point: Callable[[dict[str, Any]], None] = lambda _: None,
) -> pd.DataFrame:
    """Re-time a recorded run: ``whatif("run.h5", "platform.network.rate=1 Mbit/s,5 Mbit/s")``.

    Args:
        trace: a complete run.
        changes: ``key.path=a,b,c`` texts; every combination is a point.
        train: compute what is not recorded, and only that.
        data_dir: as of `run`, like ``store``, ``executor`` and ``workers``; for training only.
        store: as of `run`.
        executor: as of `run`.
        workers: as of `run`; without training, processes that share the points.
        folder: where to write a trace for each point; None for none.
        on_point: called with each row.

    Returns:
        One row per point; columns as of `simfl.retiming.whatif`.

    Raises:
        SimflError: see `simfl.retiming.whatif`.
    """
    base = trace if isinstance(trace, Trace) else Trace(trace)
    return retiming.whatif(
        base,
        retiming.points_of(changes),
        train=train,
        data_dir=_path(data_dir),
        host=make_host(base.path, store, executor, workers),
        folder=_path(folder),
        on_point=on_point,
    )


def sweep(
    scenario: str | Path,
    *changes: str,
    folder: str | Path,
    data_dir: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    jobs: int = 1,
    ray: bool | str = False,
    on_point: Callable[[dict[str, Any]], None] = lambda _: None,
) -> pd.DataFrame:
    """Run a scenario at every point of a grid; points that learn the same train once.

    Args:
        scenario: a path, or a name from ``simfl list scenarios``.
        changes: ``key.path=a,b,c`` texts; every combination is a point.
        folder: where the traces go.
        data_dir: as of `run`, like ``executor`` and ``workers``.
        store: as of `run`; True, ``.simfl`` in the folder.
        executor: as of `run`.
        workers: as of `run`; on Ray the cores that each point takes, one unless said.
        jobs: groups of points that learn something else, side by side.
        ray: instead, run the points on a Ray cluster: its address, or True for what
            `simfl.cluster.on_ray` finds. The store is then one that every node must see.
        on_point: called with each row.

    Returns:
        One row per point; columns as of `simfl.grid.sweep`.

    Raises:
        SimflError: see `simfl.grid.sweep`.
    """
    if jobs < 1:
        raise ScenarioError(f"--jobs {jobs}: give 1 or more")
    if ray and jobs > 1:
        raise ScenarioError("--jobs: processes of this machine; give --jobs or --ray")
    where = Path(folder)
    host = make_host(where / "sweep", store, executor, workers or (1 if ray else None))
    if ray:
        data_dir = Path(data_dir).resolve() if data_dir else None
        place = host.shared or str((host.store or store_beside(where / "sweep")).resolve())
        host = replace(host, store=None, shared=place)
    return grid.sweep(
        _found(scenario),
        retiming.points_of(changes),
        where,
        data_dir=_path(data_dir),
        host=host,
        players=cluster.on_ray(None if ray is True else ray) if ray else grid.here(jobs),
        on_point=on_point,
    )


def optimize(
    scenario: str | Path,
    *space: str,
    folder: str | Path,
    minimize: str | None = None,
    maximize: str | None = None,
    at_least: Iterable[str] = (),
    at_most: Iterable[str] = (),
    trials: int = 50,
    seed: int = 0,
    data_dir: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    on_point: Callable[[dict[str, Any]], None] = lambda _: None,
) -> pd.DataFrame:
    """Search a scenario's best point with Optuna.

    Args:
        scenario: a path, or a name from ``simfl list scenarios``.
        space: ``key.path=low..high`` and ``key.path=a,b,c`` texts; see `simfl.search_space`.
        folder: where the traces and Optuna's study go.
        minimize: a key of `simfl.optimization.FIGURES`, such as ``time_to_accuracy``.
        maximize: the same; one of both.
        at_least: bounds, such as ``accuracy=0.9``.
        at_most: bounds, such as ``time=2 h``.
        trials: how many in all, those of earlier calls on the folder included.
        seed: of what is tried.
        data_dir: as of `run`, like ``executor`` and ``workers``.
        store: as of `run`; True, ``.simfl`` in the folder.
        executor: as of `run`.
        workers: as of `run`.
        on_point: called with each row.

    Returns:
        One row per trial; columns as of `simfl.optimization.optimize`.

    Raises:
        SimflError: see `simfl.optimization.optimize`.
    """
    if trials < 1:
        raise ScenarioError(f"--trials {trials}: give 1 or more")
    figure = minimize or maximize
    if figure is None or (minimize and maximize):
        raise ScenarioError("give one of --minimize and --maximize, e.g. time_to_accuracy")
    bounds = [(at_most, 1), (at_least, -1)]
    where = Path(folder)
    return optimization.optimize(
        _found(scenario),
        [dimension(text) for text in space],
        optimization.Goal(
            figure=figure,
            sign=1 if minimize else -1,
            bounds=[optimization.bound(text, sign) for texts, sign in bounds for text in texts],
        ),
        where,
        trials=trials,
        seed=seed,
        data_dir=_path(data_dir),
        host=make_host(where / "search", store, executor, workers),
        on_point=on_point,
    )


@overload
def report(
    *sources: Source,
    out: str | Path = ...,
    targets: Iterable[float] = ...,
    png: bool = ...,
    pdf: bool = ...,
    text: Literal[False] = ...,
) -> list[Path]: ...


@overload
def report(*sources: Source, text: Literal[True]) -> str: ...


def report(
    *sources: Source,
    out: str | Path = "report.html",
    targets: Iterable[float] = (),
    png: bool = False,
    pdf: bool = False,
    text: bool = False,
) -> list[Path] | str:
    """One HTML page of runs and studies: ``report(trace, sweep(...), out="runs/report.html")``.

    A run that was killed is drawn as far as it came, and the page says so.

    Args:
        sources: traces or their paths; tables of `sweep` and `whatif` or their paths (.csv,
            .parquet).
        out: the page; one of before is written over, another file is not.
        targets: accuracies to reach; else the scenarios' own, else one that all runs reach.
        png: figures for a paper beside the page, too.
        pdf: the same as PDF.
        text: instead of all that, the summary of each run, as the command line prints it.

    Returns:
        The files, the page first; with ``text``, the text.

    Raises:
        TraceError: not a whole trace, or one in which nothing is recorded.
        ScenarioError: not a study's table, or a file cannot be written.
    """
    from simfl import reporting, terminal

    page, wanted = Path(out), list(targets)
    endings = [ending for ending, asked in (("png", png), ("pdf", pdf)) if asked]
    for ending in endings:
        reporting.refuse_without_matplotlib(ending)
    read = reporting.Sources.read(sources)
    if text:
        return "\n".join(map(terminal.report_text, read.runs.values()))
    reporting.write_page(read, page, wanted)
    written = [page]
    for ending in endings:
        written += reporting.write_figures(read, page.with_suffix(""), ending, wanted)
    return written


def make_host(trace: Path, store: str | Path | bool, executor: str, workers: int | None) -> Host:
    """What of this machine a run may use; arguments as of `run`.

    Raises:
        ScenarioError: no such executor, or no worker.
    """
    if executor not in list(ExecutorName):
        raise ScenarioError(f"--executor {executor}: {did_you_mean(executor, ExecutorName)}")
    if workers is not None and workers < 1:
        raise ScenarioError(f"--workers {workers}: give 1 or more")
    shared = store if isinstance(store, str) and is_url(store) else None
    if shared:
        Shared.make(shared)
    folder = store_beside(trace) if store is True else Path(store) if store and not shared else None
    return Host(
        store=folder,
        shared=shared,
        executor=ExecutorName(executor),
        workers=workers or cores(),
    )


def _found(name: str | Path) -> Path:
    path = resources.find("scenarios", str(name))
    if path is None:
        mend = did_you_mean(str(name), resources.names("scenarios"))
        raise ScenarioError(f"{name}: no such scenario; {mend}")
    return path


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
