"""A sweep: one scenario at every point of a grid, over one store.

What differs in time only trains once: points that learn the same run one after the other, and the
later ones find the earlier one's training. Points that learn something else may run side by side.
"""

from __future__ import annotations

import logging
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simfl.errors import ExecutorError, SimflError
from simfl.hosting import Host, end_with_parent
from simfl.keys import Key, key_of
from simfl.record import Trace
from simfl.record.repeats import SHARES, Spread
from simfl.record.summary import summarise
from simfl.repeating import repeated
from simfl.retiming import Point, changed, table_of
from simfl.scenario import Scenario, load
from simfl.scenario.override import Override
from simfl.simulation import resume, run

log = logging.getLogger(__name__)

_LONGEST: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One point of a sweep."""

    number: int
    source: Path
    point: Point
    out: Path


def sweep(
    source: Path,
    points: Sequence[Point],
    folder: Path,
    *,
    data_dir: Path | None = None,
    host: Host,
    jobs: int = 1,
    on_point: Callable[[dict[str, Any]], None] = lambda _: None,
) -> pd.DataFrame:
    """Run a scenario at each point; what is complete already is not run again.

    Args:
        source: the scenario's file.
        points: changes to it.
        folder: where the traces go, one for each point.
        data_dir: where data sets lie.
        host: store and executor.
        jobs: groups of points that run side by side, each in a process of its own.
        on_point: called with each row, in the order in which they end.

    Returns:
        One row per point, in their order: the changed keys, then ``time_s``, ``target_s``,
        ``rounds``, ``accuracy``, ``down_bytes``, ``up_bytes``, ``joules``, ``target_joules``,
        ``status`` and ``trace``. Of a point that failed, ``status`` says why. With repeats, also
        their percentiles: ``time_p05_s``, ``time_p25_s``, ``time_p50_s``, ``time_p75_s``,
        ``time_p95_s`` and, with an accuracy to reach, ``target_p05_s`` to ``target_p95_s`` and in
        how many of them it is ``never``.

    Raises:
        ExecutorError: a process was killed.
        SimflError: a point that is no valid scenario; nothing was run then.
    """
    groups: dict[Key, list[_Job]] = {}
    named: dict[str, str] = {}
    for number, point in enumerate(points):
        scenario = load(source, point)
        name = _name(scenario, point)
        if named.setdefault(name, scenario.as_yaml()) != scenario.as_yaml():
            # values that differ in what a file name does not tell
            name += f",{_digest(point)}"
        out = folder / f"{name}.h5"
        job = _Job(number=number, source=source, point=point, out=out)
        groups.setdefault(_learns(scenario), []).append(job)
    rows: dict[int, dict[str, Any]] = {}
    for number, row in _played(list(groups.values()), data_dir, host, jobs):
        rows[number] = row
        on_point(row)
    return table_of(points, [rows[number] for number in range(len(points))])


def _played(
    groups: list[list[_Job]], data_dir: Path | None, host: Host, jobs: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    if jobs == 1 or len(groups) == 1:
        for group in groups:
            for job in group:
                yield _run(job, data_dir, host)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, end_with_parent) as pool:
        done = [pool.submit(_run_group, group, data_dir, host) for group in groups]
        try:
            for ended in as_completed(done):
                yield from ended.result()
        except BrokenProcessPool as error:
            raise ExecutorError(
                "a process that ran points was killed (out of memory?); sweep again with fewer "
                "--jobs: what was run is kept"
            ) from error


def _run_group(
    group: list[_Job], data_dir: Path | None, host: Host
) -> list[tuple[int, dict[str, Any]]]:
    return [_run(job, data_dir, host) for job in group]


def _run(job: _Job, data_dir: Path | None, host: Host) -> tuple[int, dict[str, Any]]:
    """One point, whatever becomes of it."""
    row = changed(job.point)
    try:
        trace = _trace_of(job, data_dir, host)
    except SimflError as error:
        return job.number, row | {"status": f"failed: {error}", "trace": str(job.out)}
    found = summarise(trace)
    row |= {
        "time_s": found.time_s,
        "target_s": found.target_s,
        "rounds": found.rounds,
        "accuracy": found.accuracy,
        "down_bytes": found.down_bytes,
        "up_bytes": found.up_bytes,
        "joules": found.joules,
        "target_joules": found.target_joules,
    }
    for name, spread in found.repeats.items():
        row |= _columns(name, spread)
    return job.number, row | {"status": trace.status, "trace": str(job.out)}


def _columns(figure: str, spread: Spread) -> dict[str, float]:
    """The percentiles of a figure over the repeats: ``time_p50_s`` and its like."""
    stem = figure.removesuffix("_s")
    unit = figure.removeprefix(stem)
    columns: dict[str, float] = {
        f"{stem}_p{share * 100:02.0f}{unit}": value
        for share, value in zip(SHARES, spread.percentiles, strict=True)
    }
    return columns | ({"never": spread.never} if figure == "target_s" else {})


def _trace_of(job: _Job, data_dir: Path | None, host: Host) -> Trace:
    """The point's trace with its repeats: as it stands, resumed, or run now."""
    scenario = load(job.source, job.point)
    if job.out.exists():
        try:
            old = Trace(job.out)
        except SimflError:
            log.warning("%s: not a whole trace; run anew", job.out)
        else:
            if _same(old, scenario) and not old.status.startswith("failed"):
                return repeated(resume(job.out, data_dir=data_dir, host=host), host)
    return repeated(run(scenario, data_dir=data_dir, out=job.out, host=host), host)


def _same(trace: Trace, scenario: Scenario) -> bool:
    return trace.scenario == scenario.as_yaml()


def _learns(scenario: Scenario) -> Key:
    """Alike for points that may find each other's training."""
    learning = scenario.written()["learning"]
    return key_of(repr(learning), str(scenario.seed), str(scenario.platform.clients))


def _name(scenario: Scenario, point: Point) -> str:
    """A file name that says what differs, the same whatever else the grid holds."""
    texts = [f"{_short(one, point)}={one.text.partition('=')[2]}" for one in point]
    name = re.sub(r"[^A-Za-z0-9.=,+-]+", "_", ",".join([scenario.name, *texts]))
    return name if len(name) <= _LONGEST else f"{scenario.name},{_digest(point)}"


def _digest(point: Point) -> Key:
    return key_of(*(one.text for one in point))


def _short(override: Override, point: Point) -> str:
    last = override.path[-1]
    alone = sum(other.path[-1] == last for other in point) == 1
    return last if alone else ".".join(override.path)
