"""Steps as they were measured, by model and batch: a table, or all the samples of it."""

from __future__ import annotations

from math import fsum
from random import Random
from statistics import fmean
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from simfl.cost.figures import Figure, Time
from simfl.errors import CostError
from simfl.options import Options, Positive, PositiveDuration
from simfl.work import Passes, Workload


class Steps(Options):
    """Which steps were measured; a batch that is shorter takes as long."""

    model: str
    batch: Positive
    passes: Literal["train", "forward"] = "train"
    storage: Literal["dense", "masked", "coo", "csr"] = "dense"


class Entry(Steps):
    """What one step of one model takes."""

    step: Time

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.step.value


class Measured(Figure):
    """Durations of single steps."""

    values: Annotated[list[PositiveDuration], Field(min_length=1)]


class Samples(Steps):
    """As `Entry`, with every step that was measured."""

    steps: Measured

    @property
    def step_s(self) -> float:
        """Their mean, in seconds."""
        return fmean(self.steps.values)


E = TypeVar("E", Entry, Samples)


class Fixed(Options):
    """A table of steps."""

    kind: Literal["fixed"]
    table: Annotated[list[Entry], Field(min_length=1)]

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's steps.

        Raises:
            CostError: a model, batch or storage that is not in the table.
        """
        return work.steps * found(self.table, work).step_s if work.steps else 0.0


class Trace(Options):
    """Steps drawn from measured ones; the middle estimate is their mean."""

    kind: Literal["trace"]
    samples: Annotated[list[Samples], Field(min_length=1)]

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's steps, by the mean.

        Raises:
            CostError: a model, batch or storage that was not measured.
        """
        return work.steps * found(self.samples, work).step_s if work.steps else 0.0

    def drawn(self, work: Workload, source: Random) -> float:
        """Seconds of a workload's steps, each drawn from the measured ones, with replacement.

        Raises:
            CostError: as `seconds`.
        """
        if not work.steps:
            return 0.0
        return fsum(source.choices(found(self.samples, work).steps.values, k=work.steps))


def found(entries: list[E], work: Workload) -> E:
    """The entry with the smallest batch that holds a workload's steps.

    Raises:
        CostError: there is none.
    """
    storages = {n.storage.value for n in work.layers if n.weights} - {"dense"}
    storage = min(storages, default="dense") if len(storages) < 2 else "mixed"
    passes = "train" if work.passes is Passes.TRAIN else "forward"
    fits = [
        entry
        for entry in entries
        if (entry.model, entry.passes, entry.storage) == (work.model, passes, storage)
        and work.samples <= work.steps * entry.batch
    ]
    if not fits:
        has = ", ".join(f"{e.model} ({e.passes}, {e.storage}, batch {e.batch})" for e in entries)
        raise CostError(
            f"has no figure for {work.model} ({passes}, {storage}, batch "
            f"{-(-work.samples // work.steps)}); it has {has}"
        )
    return min(fits, key=lambda entry: entry.batch)
