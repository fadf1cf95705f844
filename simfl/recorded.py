"""What a trace holds of a run, and what it lacks of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

from simfl.assembly import build, computed_by
from simfl.datafolder import Located
from simfl.datasets.base import RecordedDataset
from simfl.keys import Key
from simfl.memo import Promise, Recipe, Store
from simfl.partitions.base import Held
from simfl.planning import Forecast
from simfl.record import Trace
from simfl.running import Parts
from simfl.scenario import loads
from simfl.scenario.override import Point as Point
from simfl.scenario.override import points_of as points_of
from simfl.work import Manifest

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a trace holds, read once.

    Attributes:
        learns: the name of all that its results depend on, but where and by which code they were
            computed.
    """

    trace: Trace
    manifests: dict[Key, Manifest]
    located: Located
    learns: str

    @classmethod
    def of(cls, trace: Trace) -> Recorded:
        """Read it."""
        facts = trace.dataset
        located = Located(
            dataset=RecordedDataset(facts),
            asked=facts["asked"],
            folder="",
            held=Held(**facts["held"]) if "held" in facts else None,
        )
        recorded = loads(trace.scenario, str(trace.path), folder=trace.folder)
        learns = build(recorded, located=located).algorithm.name
        return cls(trace=trace, manifests=trace.recorded(), located=located, learns=learns)

    def computed_by(self, parts: Parts) -> Key:
        """As in the trace's keys, whichever machine and version it comes from.

        Counts and scores are re-timed as they were recorded: a run on a GPU, on a machine without.
        """
        by: Key = self.trace.attributes["computed_by"]
        return by if parts.algorithm.name == self.learns else computed_by(parts)


class AsRecorded(Store):
    """A frozen store that promises by a trace's own names.

    Args:
        recorded: what the trace holds.
        parts: a point's.
        unrecorded: gives the counts of what it lacks.
    """

    def __init__(
        self, recorded: Recorded, parts: Parts, unrecorded: Callable[[Recipe[Any]], Manifest]
    ) -> None:
        super().__init__(
            lambda value: value.manifest(), recorded.manifests, frozen=True, unrecorded=unrecorded
        )
        self._now, self._then = computed_by(parts), recorded.computed_by(parts)

    def promise(self, recipe: Recipe[T]) -> Promise[T]:
        """By the name that it was recorded under."""
        if self._now != self._then:
            recipe = recipe._replace(name=recipe.name.replace(self._now, self._then))
        return super().promise(recipe)


class Missing:
    """Notes what is not recorded."""

    def __init__(self, parts: Parts) -> None:
        self.turns = 0
        self.keys: set[Key] = set()
        self._turn = self._other = ""
        self._first = parts.algorithm.forecast

    @property
    def first(self) -> str:
        """The first turn, else the first of all; empty where nothing was missing."""
        return self._turn or self._other

    def note(self, recipe: Recipe[Any]) -> None:
        """One that is not recorded."""
        if recipe.verb.__name__ == "train":
            self.turns += 1
            self._turn = self._turn or str(recipe)
        if recipe.heavy or recipe.counts is None:
            self._other = self._other or str(recipe)
        self.keys.add(recipe.key)

    def forecast(self, recipe: Recipe[Any]) -> Manifest:
        """Its counts, from those of what it is made from."""
        if not recipe.heavy and not any(a.key in self.keys for a in recipe.inputs()):
            # of what is recorded, by a rule: no guess
            followed = recipe.forecast()
            if followed is not None:
                return followed
        self.note(recipe)
        if recipe.verb.__name__ == "score":
            return Manifest(metrics={"accuracy": nan, "loss": nan})
        return Forecast(recipe.verb, recipe.args, self._first, recipe.counts).manifest
