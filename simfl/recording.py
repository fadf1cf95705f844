"""What is recorded of a run, and what ends it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any, Final, Protocol

import simpy

from simfl.cost.carrier import LinkUse
from simfl.cost.wires import SERVER
from simfl.events.node import Node
from simfl.events.observer import Sent, Span
from simfl.memo import Promise, Store
from simfl.record.schema import NONE
from simfl.rounds import Rounds
from simfl.running import Parts, meters_of
from simfl.units import show_bytes, show_seconds
from simfl.work import Manifest

log = logging.getLogger(__name__)

# states that wait for their evaluation, at least; of peers, a round of them
_WAITING: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands after a round.

    Attributes:
        nbytes: sent so far, in all directions.
        accuracy: of the last evaluation, of peers the mean; None before the first.
    """

    round: int
    time_s: float
    nbytes: int
    accuracy: float | None


class Tables(Protocol):
    """Where rows go; `simfl.record.TraceWriter` is one."""

    def append(self, table: str, row: tuple[Any, ...]) -> None:
        """Add a row."""

    def manifest(self, manifest: Manifest) -> int:
        """The number of a manifest."""

    def flush(self) -> None:
        """Write what is waiting."""


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """An evaluation that was begun, with what its row says besides the score."""

    time_s: float
    round: int
    node: str
    score: Promise[Any]
    nonzero: int
    sent: tuple[int, int]
    joules: float


class Recording:
    """Writes what happens, evaluates the model when due, and ends the run by the stop rules.

    Evaluations run beside the simulation, and are joined where a stop rule looks at them, at a
    checkpoint, or at the end.

    Attributes:
        ended: succeeds with the reason.
        meters: for the nodes.
    """

    def __init__(
        self,
        env: simpy.Environment,
        parts: Parts,
        tables: Tables,
        promise: Callable[..., Promise[Any]],
        store: Store,
        on_round: Callable[[Progress], None] | None,
    ) -> None:
        self.ended = env.event()
        self.meters = meters_of(parts)
        self._env, self._tables, self._store = env, tables, store
        self._algorithm, self._promise = parts.algorithm, promise
        platform = parts.scenario.platform
        self._rounds = Rounds([SERVER] if platform.has_server else platform.nodes)
        self._above = platform.above
        self._away: dict[str, tuple[float, str]] = {}
        self._evaluations: deque[_Evaluation] = deque()
        self._last: dict[str, Promise[Any]] = {}
        self._stop, self._record = parts.scenario.stop, parts.scenario.record
        self._on_round = on_round
        self._debug = log.isEnabledFor(logging.DEBUG)
        self._down_bytes = self._up_bytes = 0
        self._accuracy: float | None = None
        self._in_a_row = 0
        if self._stop.time is not None:
            limit = env.timeout(self._stop.time)
            assert limit.callbacks is not None
            limit.callbacks.append(
                lambda _: self._end(f"{show_seconds(self._stop.time or 0)} passed")
            )

    def computed(self, span: Span) -> None:
        """A row of ``activities``."""
        if self._debug:
            log.debug("t=%.6fs %s did %s, round %d", span.end_s, span.node, span.verb, span.round)
        number = NONE if span.manifest is None else self._tables.manifest(span.manifest)
        row = (span.start_s, span.end_s, span.node, span.verb, span.round, span.key, number)
        self._tables.append("activities", (*row, span.cut))
        if span.manifest is not None:
            for name, value in span.manifest.metrics.items():
                self._tables.append("metrics", (span.key, name, value))

    def sent(self, sent: Sent) -> None:
        """A row of ``transfers``; the byte budget ends the run."""
        if self._debug:
            log.debug(
                "t=%.6fs %s sent %s %d bytes", sent.end_s, sent.source, sent.target, sent.nbytes
            )
        if sent.source in self._above and sent.target != SERVER:
            self._down_bytes += sent.nbytes
        else:
            self._up_bytes += sent.nbytes
        number = self._tables.manifest(sent.manifest)
        where = (sent.start_s, sent.end_s, sent.source, sent.target, sent.round)
        self._tables.append("transfers", (*where, sent.key, number, sent.nbytes, sent.cut))
        budget = self._stop.bytes
        if budget is not None and self._down_bytes + self._up_bytes >= budget:
            self._end(f"{show_bytes(budget)} sent")

    def left(self, node: str, why: str) -> None:
        """A row of ``away`` begins; others' rounds may be over without it."""
        self._away[node] = self._env.now, why
        self._rounds.leave(node)
        self._end_rounds()

    def returned(self, node: str) -> None:
        """A row of ``away``."""
        since_s, why = self._away.pop(node)
        self._tables.append("away", (node, since_s, self._env.now, why))
        self._rounds.come_back(node)

    def observe(
        self, round: int, state: Promise[Any], node: Node | None = None, updates: int = 0
    ) -> None:
        """A state after a round: evaluate, keep; with the last of the round, report."""
        holder = node.name if node else SERVER
        self._last[holder] = state
        every = self._record.evaluate_every
        evaluated = every is not None and round % every == 0
        if self._rounds.reach(holder, round, updates, evaluated=evaluated) and evaluated:
            self._evaluate(round, state, holder)
        if round % self._record.checkpoint_every == 0:
            self.join()
            self._tables.flush()
            self._store.save(state)
        self._end_rounds()

    def finish(self, uses: Iterable[LinkUse]) -> None:
        """At the end of a run: the rest of the evaluations, links, joules, and the last models."""
        self.join()
        now_s = self._env.now
        for node, (since_s, why) in self._away.items():
            self._tables.append("away", (node, since_s, now_s, why))
        for use in uses:
            self._tables.append("links", astuple(use))
        for spent in self.meters.spent(now_s):
            self._tables.append("energy", spent)
        for state in self._last.values():
            self._store.save(state)

    def join(self, leave: int = 0) -> None:
        """Wait for evaluations, all but the newest few, and write their rows."""
        while len(self._evaluations) > leave:
            done = self._evaluations.popleft()
            metrics = done.score.manifest.metrics
            accuracy, loss = metrics["accuracy"], metrics["loss"]
            row = (done.time_s, done.round, done.node, done.score.key, accuracy, loss, done.nonzero)
            self._tables.append("scores", (*row, *done.sent, done.joules))
            self._rounds.score(done.round, accuracy)
        for mean in self._rounds.settled():
            self._accuracy = mean
            self._stop_if_accurate(mean)

    def _end_rounds(self) -> None:
        """The server, or the last of the peers that are there, may have ended some."""
        for round in self._rounds.over():
            log.info("t=%.3fs round %d ended", self._env.now, round.number)
            self._tables.append("rounds", (round.number, self._env.now, round.updates))
            waiting = max(_WAITING, len(self._rounds))
            self.join(leave=0 if self._stop.accuracy is not None else waiting)
            if self._on_round:
                sent = self._down_bytes + self._up_bytes
                now = Progress(
                    round=round.number,
                    time_s=self._env.now,
                    nbytes=sent,
                    accuracy=self._accuracy,
                )
                self._on_round(now)

    def _evaluate(self, round: int, state: Promise[Any], node: str) -> None:
        score = self._promise(self._algorithm.score, state)
        self._store.start(score)
        sent = self._down_bytes, self._up_bytes
        now_s, nonzero = self._env.now, state.manifest.nonzero
        joules = self.meters.joules(now_s)
        found = _Evaluation(now_s, round, node, score, nonzero, sent, joules)
        self._evaluations.append(found)

    def _stop_if_accurate(self, accuracy: float) -> None:
        target, wanted = self._stop.accuracy, self._stop.consecutive
        if target is not None:
            self._in_a_row = self._in_a_row + 1 if accuracy >= target else 0
            if self._in_a_row >= wanted:
                self._end(f"accuracy {target:g} in {wanted} evaluations in a row")

    def _end(self, why: str) -> None:
        if not self.ended.triggered:
            self.ended.succeed(why)
