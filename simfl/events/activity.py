"""Verbs that take simulated time: generators, used with ``yield from``."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, TypeAlias, TypeVar, cast

from simpy import AllOf, Environment, Event

T = TypeVar("T")

Activity: TypeAlias = Generator[Event, Any, T]


def parallel(env: Environment, activities: Iterable[Activity[T]]) -> Activity[list[T]]:
    """Run activities side by side; ends with the last of them.

    Returns:
        Their results, in the order given.
    """
    processes = [env.process(activity) for activity in activities]
    yield AllOf(env, processes)
    return [cast(T, process.value) for process in processes]
