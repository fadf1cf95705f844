"""Executors: where the heavy computations of a run take place, between their start and their join.

Started when the simulated computation starts, joined when it ends. Whichever executor runs a
computation, its result has the same bits: each is one pure verb on its own arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Verb = Callable[..., Any]
Args = tuple[Any, ...]


class Job(Protocol):
    """A computation under way."""

    def result(self) -> Any:
        """Wait for it.

        Raises:
            Exception: what the computation raised.
        """


class Executor(Protocol):
    """Runs verbs, bound methods of one algorithm, on values.

    Attributes:
        name: as the command line calls it.
    """

    name: str

    def start(self, verb: Verb, args: Args) -> Job:
        """Begin, or take note."""

    def close(self) -> None:
        """Let go of processes and memory."""


class Inline:
    """In this process, each when it is joined."""

    name = "inline"

    def start(self, verb: Verb, args: Args) -> Job:
        """Take note."""
        return _Later(verb, args)

    def close(self) -> None:
        """Nothing to let go."""


class _Later:
    """A call that is made when its result is wanted."""

    def __init__(self, verb: Verb, args: Args) -> None:
        self.verb, self.args = verb, args

    def result(self) -> Any:
        """Make the call."""
        return self.verb(*self.args)


class Group(Protocol):
    """What runs calls that wait for each other."""

    def run(self, wanted: Waiting) -> None:
        """Give the wanted call its result, and others beside it theirs."""


class Waiting:
    """A call that waits for others beside it."""

    def __init__(self, group: Group, verb: Verb, args: Args) -> None:
        self.verb, self.args = verb, args
        self.done: list[Any] = []
        self._group = group

    def result(self) -> Any:
        """Have it run, if that has not been done."""
        if not self.done:
            self._group.run(self)
        return self.done[0]


class Batched:
    """In this process, with all that are outstanding at the first join: stacked, where they can be.

    A verb can be stacked if its object has a verb ``<name>_all`` that takes a list of arguments and
    gives the list of results.

    Args:
        most: computations stacked at once; bounds the memory.
    """

    name = "batched"

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._outstanding: list[Waiting] = []

    def start(self, verb: Verb, args: Args) -> Job:
        """Gather it."""
        job = Waiting(self, verb, args)
        if _stacked_verb(verb) is not None:
            self._outstanding.append(job)
        return job

    def run(self, wanted: Waiting) -> None:
        """Run what is outstanding and of the same verb, the wanted one among it."""
        together = _stacked_verb(wanted.verb)
        if together is None:
            wanted.done = [wanted.verb(*wanted.args)]
            return
        jobs = [job for job in self._outstanding if job.verb == wanted.verb]
        for start in range(0, len(jobs), self._most):
            group = jobs[start : start + self._most]
            results = together([job.args for job in group])
            for job, result in zip(group, results, strict=True):
                job.done = [result]
            # what fails stays outstanding
            self._outstanding = [job for job in self._outstanding if not job.done]

    def close(self) -> None:
        """Forget what nobody joined."""
        self._outstanding = []


def _stacked_verb(verb: Verb) -> Callable[[list[Args]], list[Any]] | None:
    found: Callable[[list[Args]], list[Any]] | None = getattr(
        getattr(verb, "__self__", None), f"{verb.__name__}_all", None
    )
    return found
