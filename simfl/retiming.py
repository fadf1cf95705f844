"""What if: a recorded run under other bandwidths, devices, codecs, without learning anything anew.

There is no second engine. The scenario runs again, with a store that holds what its trace recorded:
protocol, network and costs are the same code as in a run. Where a change alters what is computed
(another arrival order, another learning rate), its recipes are not found: these are counted, or,
if that is allowed, trained.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
import simpy

from simfl.assembly import attributes, build, check, deal, node_rows
from simfl.datasets.base import RecordedDataset
from simfl.errors import (
    DataError,
    ExecutorError,
    RecordError,
    ScenarioError,
    SimflError,
    TraceError,
)
from simfl.hosting import Host, end_with_parent
from simfl.memo import Store
from simfl.record import Trace, TraceWriter
from simfl.record.schema import COLUMNS
from simfl.recorded import AsRecorded, Missing, Recorded
from simfl.recording import Recording
from simfl.running import Parts, Simulation
from simfl.scenario import Scenario, loads
from simfl.scenario.override import Override
from simfl.scenario.override import Point as Point
from simfl.scenario.override import points_of as points_of
from simfl.simulation import promiser
from simfl.totals import Totals

CURVE: Final = tuple(name for name, _ in COLUMNS["repeat_curves"] if name != "draw")
"""What is told of an evaluation, in the order of the table that keeps it."""
# points that a process takes at a time
_CHUNK: Final = 4
_ONCE: Final = Override.parse("repeats=0")


def whatif(
    trace: Trace,
    points: Sequence[Point],
    *,
    train: bool = False,
    data_dir: Path | None = None,
    host: Host | None = None,
    folder: Path | None = None,
    curves: bool = False,
    on_point: Callable[[dict[str, Any]], None] = lambda _: None,
) -> pd.DataFrame:
    """Re-time a run at each point.

    Args:
        trace: a complete run.
        points: changes to its scenario.
        train: compute what is not recorded, and only that; opens the data set.
        data_dir: where data sets lie, for training.
        host: store and executor, for training.
        folder: where to write a trace for each point; None for none. What was missing and not
            computed has no key there, and the status names the first of it.
        curves: a column ``curve``, too: of each evaluation `CURVE`.
        on_point: called with each row.

    Returns:
        One row per point: the changed keys, then ``time_s``, ``target_s`` (inf: never), ``rounds``,
        ``accuracy``, ``down_bytes``, ``up_bytes``, ``joules`` and ``target_joules`` (of the clients
        or peers; nan: a device without watts), ``turns`` (local updates in all), ``anew``
        (of them, not recorded: trained now, or else only counted), ``first_anew`` (the first
        of them, else the first other thing that was missing) and ``status``.

        Where something was missing and not computed, the accuracies behind it are unknown (nan),
        and so is whether they would have ended the run. Its counts are those of what it is made
        from: where an algorithm prunes what is missing, bytes and seconds are too large.

    Raises:
        TraceError: the run is not complete.
        ScenarioError: another data set, and nothing may be trained.
        ExecutorError: a process was killed.
        SimflError: a point that cannot be.
    """
    if trace.status.startswith("failed"):
        raise TraceError(f"{trace.path}: {trace.status}; run the scenario again with that mended")
    if not trace.complete:
        raise TraceError(
            f"{trace.path}: an unfinished run ({trace.status}); simfl resume {trace.path} first"
        )
    host = host or Host()
    _valid(trace, points, train)
    rows: dict[int, dict[str, Any]] = {}
    played: Iterator[tuple[int, dict[str, Any]]]
    if train:
        played = (
            (n, _or_failed(point, partial(_train, trace, n, point, data_dir, host, folder, curves)))
            for n, point in enumerate(points)
        )
    else:
        played = _timed(trace, points, folder, curves, host.workers)
    for number, row in played:
        rows[number] = row
        on_point(row)
    return table_of(points, [rows[number] for number in range(len(points))])


def table_of(points: Sequence[Point], rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table; the changed values as they were given, also beside a null."""
    table = pd.DataFrame(rows)
    for key in changed(points[0]) if points else ():
        table[key] = pd.Series([row[key] for row in rows], dtype=object)
    return table


def _scenario_at(trace: Trace, point: Point) -> Scenario:
    """A point's scenario; it is played once, whatever the base repeats."""
    changes = (*point, _ONCE)
    return loads(trace.scenario, str(trace.path), changes, folder=trace.folder)


def _valid(trace: Trace, points: Sequence[Point], train: bool) -> None:
    """Mistakes are told before the first point is played."""
    recorded = loads(trace.scenario, str(trace.path), folder=trace.folder)
    for point in points:
        if any(one.path == _ONCE.path for one in point):
            raise ScenarioError(
                "repeats: a what-if plays each point once; name the draws to play, "
                "platform.variation.draw=1,2,3"
            )
        scenario = _scenario_at(trace, point)
        check(scenario)
        if not train and not _same_data(scenario, recorded):
            raise scenario.located(
                ("learning", "dataset"),
                f"another than {trace.dataset['name']}, which is recorded; it is not opened to "
                "re-time a run; allow training (--train)",
            )
        if not train and _shares(scenario) != _shares(recorded):
            deal(scenario, RecordedDataset(trace.dataset))


def _same_data(one: Scenario, other: Scenario) -> bool:
    """Whether they read the same; dealing it out and normalising it come after."""
    ours, theirs = one.learning.dataset, other.learning.dataset
    return all(getattr(ours, it) == getattr(theirs, it) for it in ("name", "options", "fallback"))


def _shares(scenario: Scenario) -> tuple[Any, ...]:
    """What decides who holds what of the data."""
    return scenario.learning.dataset.partition, scenario.platform.clients, scenario.seed


def _timed(
    trace: Trace, points: Sequence[Point], folder: Path | None, curves: bool, workers: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Points by what is recorded alone, shared among processes."""
    numbered = list(enumerate(points))
    if min(workers, len(points)) < 2:
        recorded = Recorded.of(trace)
        for number, point in numbered:
            yield number, _or_failed(point, partial(_time, recorded, number, point, folder, curves))
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    size = max(1, min(_CHUNK, len(points) // workers))
    chunks = [numbered[start : start + size] for start in range(0, len(numbered), size)]
    with ProcessPoolExecutor(workers, context, end_with_parent) as pool:
        done = [pool.submit(_time_several, trace.path, chunk, folder, curves) for chunk in chunks]
        try:
            for chunk in as_completed(done):
                yield from chunk.result()
        except BrokenProcessPool as error:
            raise ExecutorError(
                "a process that re-timed points was killed (out of memory?); take fewer --workers"
            ) from error


def _time_several(
    path: Path, points: list[tuple[int, Point]], folder: Path | None, curves: bool
) -> list[tuple[int, dict[str, Any]]]:
    recorded = _read(path)
    return [
        (number, _or_failed(point, partial(_time, recorded, number, point, folder, curves)))
        for number, point in points
    ]


def _or_failed(point: Point, play: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A point's row; of one that cannot be, such as a device that is too small, the reason.

    Raises:
        RecordError: it is the machine that failed.
        DataError: there is no data to train any point on.
    """
    try:
        return play()
    except (RecordError, DataError):
        raise
    except SimflError as error:
        return changed(point) | {"status": f"failed: {error}"}


@lru_cache(maxsize=1)
def _read(path: Path) -> Recorded:
    return Recorded.of(Trace(path))


def _time(
    recorded: Recorded, number: int, point: Point, folder: Path | None, curves: bool
) -> dict[str, Any]:
    """One point by what is recorded alone."""
    trace = recorded.trace
    scenario = _scenario_at(trace, point)
    parts = build(scenario, located=recorded.located)
    missing = Missing(parts)
    store = AsRecorded(recorded, parts, missing.forecast)
    row = _play(parts, store, _out(trace, number, folder), curves, missing)
    return changed(point) | row | {"anew": missing.turns, "first_anew": missing.first}


def _train(
    trace: Trace,
    number: int,
    point: Point,
    data_dir: Path | None,
    host: Host,
    folder: Path | None,
    curves: bool,
) -> dict[str, Any]:
    """One point, what is not recorded computed anew."""
    scenario = _scenario_at(trace, point)
    parts = build(scenario, data_dir, device=host.device)
    found, facts = parts.located.dataset, trace.dataset
    if found.digest() != facts["digest"] and _same_data(scenario, loads(trace.scenario)):
        raise DataError(
            f"{trace.path}: was run on {facts['name']}, and {found.name} as found now is other "
            "data; give the --data-dir of the run"
        )
    recorded = trace.recorded()
    disk, executor = host.open_store(parts), host.make_executor(parts)
    known = recorded if disk is None else {**disk.manifests(), **recorded}
    missing = Missing(parts)
    store = Store(lambda value: value.manifest(), known, disk, executor, unrecorded=missing.note)
    try:
        row = _play(parts, store, _out(trace, number, folder), curves)
        store.flush()
    finally:
        executor.close()
        if disk is not None:
            disk.close()
    return changed(point) | row | {"anew": missing.turns, "first_anew": missing.first}


def changed(point: Point) -> dict[str, Any]:
    """The first columns of a point's row."""
    return {".".join(one.path): one.shown for one in point}


def _out(trace: Trace, number: int, folder: Path | None) -> Path | None:
    return None if folder is None else folder / f"{trace.path.stem}-{number:04d}.h5"


def _play(
    parts: Parts, store: Store, out: Path | None, curves: bool, guessed: Missing | None = None
) -> dict[str, Any]:
    """Run to the end; the row, but for what was missing."""
    env = simpy.Environment()
    writer = None if out is None else TraceWriter(out, node_rows(parts), attributes(parts))
    totals = Totals(writer, guessed.keys if guessed else set(), parts.scenario.platform.above)
    promise = promiser(parts, store)
    recording = Recording(env, parts, totals, promise, store, None)
    simulation = Simulation(
        env, parts, recording, promise, recording.observe, store.start, meters=recording.meters
    )
    try:
        status = simulation.play(recording.ended)
        recording.finish(simulation.uses())
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    if writer is not None:
        lacks = f"; not recorded: {guessed.first}" if guessed and guessed.keys else ""
        writer.close(f"complete: {status}{lacks}")
    curve, joules = totals.curve(), recording.meters.joules(env.now)
    told = {"curve": curve[list(CURVE)].to_records(index=False).tolist()} if curves else {}
    return totals.row(parts, curve, joules) | told | {"status": f"complete: {status}"}
