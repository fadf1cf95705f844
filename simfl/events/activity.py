"""Verbs that take simulated time: generators, used with ``yield from``.

An activity that is cut raises SimPy's ``Interrupt`` where it waits: its node left, or a deadline
came. What it held it gives back, and what it had done until then is charged.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from math import inf
from typing import Any, Final, TypeAlias, TypeVar, cast

from simpy import AllOf, Environment, Event, Interrupt, Process

T = TypeVar("T")

Activity: TypeAlias = Generator[Event, Any, T]

_CUT: Final = object()


def parallel(env: Environment, activities: Iterable[Activity[T]]) -> Activity[list[T]]:
    """Run activities side by side; ends with the last of them.

    Returns:
        The results of those that were not cut, in the order given.
    """
    processes = [env.process(_or_cut(activity)) for activity in activities]
    yield AllOf(env, processes)
    return _results(processes)


def first(
    env: Environment, count: int, activities: Iterable[Activity[T]], within_s: float = inf
) -> Activity[list[T]]:
    """Run activities side by side until some have come to their end; the others are cut.

    Args:
        env: the event loop.
        count: how many to wait for.
        activities: what to run.
        within_s: or until then, whoever has come to his end.

    Returns:
        The results of those that came to their end first, in the order given.
    """
    over = env.event()
    ended: list[Process] = []
    running = 0

    def note(event: Event) -> None:
        nonlocal running
        running -= 1
        if event.ok and event.value is not _CUT and len(ended) < count:
            ended.append(cast(Process, event))
        if not over.triggered and (len(ended) == count or not running):
            over.succeed()

    processes = [env.process(_or_cut(activity)) for activity in activities]
    running = len(processes)
    for process in processes:
        assert process.callbacks is not None
        process.callbacks.append(note)
    if running:
        yield over if within_s == inf else over | env.timeout(within_s)
    for process in processes:
        if process.is_alive:
            process.interrupt("not waited for")
    yield AllOf(env, processes)
    return _results([process for process in processes if process in ended])


def pause(env: Environment, seconds: float) -> Activity[None]:
    """Let time pass."""
    yield env.timeout(seconds)


def unless_cut(activity: Activity[T]) -> Activity[T | None]:
    """Its result; None where it was cut."""
    found = yield from _or_cut(activity)
    return None if found is _CUT else cast(T, found)


def _or_cut(activity: Activity[T]) -> Activity[T | object]:
    try:
        return (yield from activity)
    except Interrupt:
        return _CUT


def _results(processes: Iterable[Process]) -> list[Any]:
    return [process.value for process in processes if process.value is not _CUT]
