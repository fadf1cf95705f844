"""A sweep: one scenario at every point of a grid, over one store.

What differs in time only trains once: points that learn the same run one after the other, and the
later ones find the earlier one's training. Points that learn something else may run side by side,
in processes of this machine or on a Ray cluster.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from simfl.errors import ExecutorError, StoreError
from simfl.hosting import Host, end_with_parent
from simfl.keys import Key
from simfl.retiming import Point, table_of
from simfl.scenario import load
from simfl.tasks import Names, Row, Task, learns, play

T = TypeVar("T")
Players = Callable[[list[list[Task]], Path | None, Host], Iterator[tuple[int, Row]]]
"""Does groups of tasks, those of a group in turn, and gives each one's number and row."""


def sweep(
    source: Path,
    points: Sequence[Point],
    folder: Path,
    *,
    data_dir: Path | None = None,
    host: Host,
    players: Players,
    on_point: Callable[[Row], None] = lambda _: None,
) -> pd.DataFrame:
    """Run a scenario at each point; what is complete already is not run again.

    Args:
        source: the scenario's file.
        points: changes to it.
        folder: where the traces go, one for each point.
        data_dir: where data sets lie.
        host: store and executor.
        players: where the points are run: `here`, or `simfl.cluster.on_ray`.
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
        StoreError: the store is gone; what was run stands, and the same call goes on.
        SimflError: a point that is no valid scenario; nothing was run then.
    """
    groups: dict[Key, list[Task]] = {}
    names = Names()
    for number, point in enumerate(points):
        scenario = load(source, point)
        task = Task(
            number=number,
            text=source.read_text(encoding="utf-8"),
            source=str(source),
            folder=source.parent,
            point=point,
            out=folder / f"{names.name(scenario, point)}.h5",
        )
        groups.setdefault(learns(scenario), []).append(task)
    rows: dict[int, Row] = {}
    for number, row in players(list(groups.values()), data_dir, host):
        rows[number] = row
        on_point(row)
    return table_of(points, [rows[number] for number in range(len(points))])


def here(jobs: int) -> Players:
    """On this machine.

    Args:
        jobs: groups side by side, each in a process of its own.
    """
    return partial(_played, jobs)


def _played(
    jobs: int, groups: list[list[Task]], data_dir: Path | None, host: Host
) -> Iterator[tuple[int, Row]]:
    if jobs == 1 or len(groups) == 1:
        for group in groups:
            for task in group:
                yield task.number, play(task, data_dir, host)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, end_with_parent) as pool:
        try:
            for task, ended in chained(groups, lambda it: pool.submit(play, it, data_dir, host)):
                yield task.number, ended.result()
        except StoreError:
            # what waits would only find the same
            pool.shutdown(cancel_futures=True)
            raise
        except BrokenProcessPool as error:
            raise ExecutorError(
                "a process that ran points was killed (out of memory?); sweep again with fewer "
                "--jobs: what was run is kept"
            ) from error


def chained(
    groups: list[list[Task]], start: Callable[[Task], Future[T]]
) -> Iterator[tuple[Task, Future[T]]]:
    """Groups side by side, the tasks of a group in turn; each task as it ends."""
    under_way = {start(group[0]): group for group in groups}
    while under_way:
        ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in ended:
            task, *rest = under_way.pop(future)
            yield task, future
            if rest:
                under_way[start(rest[0])] = rest
