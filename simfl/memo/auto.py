"""The executor that measures the others on the run's own computations, and keeps the fastest.

It reads the host's clock, and may: all executors give the same bits, so what it decides changes
nothing but how long the host takes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from simfl.memo.executor import Args, Executor, Job, Verb, Waiting

log = logging.getLogger(__name__)

# of the speed-up that so many processes could give: near enough to look no further
_ENOUGH: Final = 0.65
_LONG_S: Final = 0.1
# computations for each process that could run them
_WARMING: Final = 10
_MEASURED: Final = 10


class Auto:
    """Tries each executor on some computations that are outstanding together.

    One computation or two run alone, for the rate of one; then each candidate gets a few to warm
    up, and a few more to be measured.

    Args:
        candidates: what to choose among; the first is tried first, the last runs what is alone.
        ideal: the speed-up over one at a time that would end the search.
    """

    name = "auto"

    def __init__(self, candidates: Sequence[Executor], ideal: int) -> None:
        self._candidates, self._ideal = list(candidates), ideal
        self._chosen: Executor | None = candidates[0] if len(candidates) == 1 else None
        self._outstanding: list[Waiting] = []
        self._measured_s: dict[str, float] = {}
        self._warm: set[str] = set()

    @property
    def says(self) -> str:
        """What was measured and chosen; empty as long as nothing was."""
        if self._chosen is None or not self._measured_s:
            return ""
        found = ", ".join(f"{name} {s * 1e3:.3g} ms" for name, s in self._measured_s.items())
        return f"{self._chosen.name} (a turn took: {found})"

    def start(self, verb: Verb, args: Args) -> Job:
        """To the chosen one; before there is one, gather."""
        if self._chosen is not None:
            return self._chosen.start(verb, args)
        job = Waiting(self, verb, args)
        if verb.__name__ == "train":
            self._outstanding.append(job)
        return job

    def run(self, wanted: Waiting) -> None:
        """Run what is outstanding, the wanted one among it, and learn from it."""
        group, self._outstanding = self._outstanding, []
        if wanted not in group:
            self._outstanding, group = group, [wanted]
        if wanted.verb.__name__ != "train":
            self._run(self._chosen or self._candidates[-1], group)
            return
        while self._chosen is None and len(group) > 1:
            group = self._learn(group)
        self._run(self._chosen or self._candidates[-1], group)

    def _learn(self, group: list[Waiting]) -> list[Waiting]:
        """Run the first few for what is to be known next; the others."""
        alone = self._candidates[-1]
        if alone.name not in self._measured_s:
            self._measure(alone, group[:1])
            if self._measured_s[alone.name] >= _LONG_S:
                return group[1:]
            # whichever comes first also warms up libraries: of short ones, the second counts
            self._measure(alone, group[1:2])
            return group[2:]
        candidate = next(c for c in self._candidates if c.name not in self._measured_s)
        if candidate.name not in self._warm:
            few = _WARMING * self._ideal
            self._run(candidate, group[:few])
        else:
            few = _MEASURED * self._ideal
            self._measure(candidate, group[:few])
            self._decide(candidate)
        return group[few:]

    def close(self) -> None:
        """Let go of all."""
        for candidate in self._candidates:
            candidate.close()

    def _measure(self, executor: Executor, group: list[Waiting]) -> None:
        begun_s = perf_counter()
        self._run(executor, group)
        self._measured_s[executor.name] = (perf_counter() - begun_s) / len(group)

    def _run(self, executor: Executor, group: list[Waiting]) -> None:
        if group:
            self._warm.add(executor.name)
        jobs = [executor.start(job.verb, job.args) for job in group]
        for job, under_way in zip(group, jobs, strict=True):
            job.done = [under_way.result()]

    def _decide(self, last: Executor) -> None:
        alone_s = self._measured_s[self._candidates[-1].name]
        near = alone_s / self._measured_s[last.name] >= _ENOUGH * self._ideal
        if near or all(c.name in self._measured_s for c in self._candidates):
            fastest = min(self._measured_s, key=self._measured_s.__getitem__)
            self._chosen = next(c for c in self._candidates if c.name == fastest)
            for candidate in self._candidates:
                if candidate is not self._chosen:
                    candidate.close()
            log.info("executor: %s", self.says)
