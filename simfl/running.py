"""A run under way: the nodes and their clock, what is recorded, and what ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import networkx as nx
import simpy

from simfl.algorithms.base import AnyAlgorithm
from simfl.cost.device import StackDevice
from simfl.cost.link import SERVER, NetworkModel
from simfl.datafolder import Located
from simfl.errors import DeviceMemoryError
from simfl.events.network import Network
from simfl.events.node import Node, World
from simfl.events.observer import Observer, Sent, Span
from simfl.keys import Key, seed_of
from simfl.learning.problem import Problem
from simfl.memo import Artifact, Promise, Received, Recipe, Store
from simfl.record import TraceWriter
from simfl.scenario import Scenario
from simfl.units import show_bytes, show_seconds
from simfl.work import Manifest, Participant, Workload

log = logging.getLogger(__name__)

Promiser = Callable[..., Artifact[Any]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything a scenario names, built; no clock yet."""

    scenario: Scenario
    located: Located
    problem: Problem
    algorithm: AnyAlgorithm
    codec: Any
    devices: dict[str, StackDevice]
    network: NetworkModel
    overlay: nx.Graph[str]


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


class Simulation:
    """The nodes of one run, and what a protocol may ask of it (`simfl.protocols.base.Run`)."""

    def __init__(
        self,
        env: simpy.Environment,
        parts: Parts,
        observer: Observer,
        promise: Promiser,
        observe: Callable[..., None],
    ) -> None:
        self.env = env
        self.overlay = parts.overlay
        self.promise = promise
        self.observe = observe
        self._parts = parts
        self._states: dict[int, Artifact[Any]] = {}
        world = World(
            env=env,
            network=Network(env, parts.network),
            observer=observer,
            promise=promise,
            work=self._work,
            nbytes=parts.codec.nbytes,
        )
        platform = parts.scenario.platform
        nodes = [
            Node(world, name, index, parts.devices[group])
            for index, (name, group) in enumerate(platform.nodes.items(), -platform.has_server)
        ]
        self._servers = [node for node in nodes if node.index < 0]
        others = nodes[len(self._servers) :]
        self.clients, self.peers = (others, []) if self._servers else ([], others)

    @property
    def server(self) -> Node:
        """The server; a scenario for peers has none, and its protocol does not ask."""
        return self._servers[0]

    def play(self, ended: simpy.Event | None = None, rounds: int | None = None) -> str:
        """Run the protocol to its end, or until ``ended`` says why.

        Raises:
            DeviceMemoryError: a device cannot hold its part; says from where on it could.
        """
        choice, algorithm = self._parts.scenario.protocol, self._parts.algorithm
        options = choice.options
        if rounds is not None:
            options = options.model_copy(update={"rounds": rounds})
        process = self.env.process(choice.plugin().build(self, algorithm, options))
        try:
            self.env.run(until=process if ended is None else process | ended)
        except DeviceMemoryError as error:
            mend = algorithm.holds_from(self._everybody_holds)
            raise DeviceMemoryError(f"{error}; {mend or 'take another device or model'}") from error
        if ended is not None and ended.triggered:
            return str(ended.value)
        return f"{getattr(options, 'rounds', 0)} rounds"

    def sample(self, size: int | None, round: int) -> list[Node]:
        """The cohort of a round."""
        if size is None or size == len(self.clients):
            return self.clients
        draw = Random(seed_of(self._parts.scenario.seed, "cohort", round))
        return [self.clients[i] for i in sorted(draw.sample(range(len(self.clients)), size))]

    def participant(self, node: Node) -> Participant:
        """A node in logical coordinates."""
        if node.index < 0:
            return Participant(index=-1, samples=0)
        return self._parts.problem.participants[node.index]

    def state_of(self, node: Node) -> Artifact[Any] | None:
        """What a client held after its last turn, if the algorithm looks at it."""
        return self._states.get(node.index)

    def keep_state(self, node: Node, state: Artifact[Any]) -> None:
        """Keep it for algorithms that look."""
        if self._parts.algorithm.keeps_client_state:
            self._states[node.index] = state

    def _work(self, verb: Callable[..., Any], *args: Any) -> Workload:
        rule = self._parts.algorithm.work.get(verb.__name__)
        if rule is None:
            return Workload()
        return rule(self._parts.algorithm, *map(_counts, args))

    def _everybody_holds(self, work: Workload) -> bool:
        for group, device in self._parts.devices.items():
            if group != SERVER:
                try:
                    device.check(work)
                except DeviceMemoryError:
                    return False
        return True


def _counts(arg: Any) -> Any:
    """An argument as a work rule sees it: artifacts by their manifest."""
    if isinstance(arg, Received):
        return Received(_counts(arg.payload), arg.sender)
    if isinstance(arg, tuple):
        return tuple(map(_counts, arg))
    return arg.manifest if hasattr(arg, "manifest") else arg


class Recording:
    """Writes what happens, evaluates the model when due, and ends the run by the stop rules."""

    def __init__(
        self,
        env: simpy.Environment,
        parts: Parts,
        writer: TraceWriter,
        promise: Callable[..., Promise[Any]],
        store: Store,
        on_round: Callable[[Progress], None] | None,
    ) -> None:
        self.ended = env.event()
        self._env, self._writer, self._store = env, writer, store
        self._algorithm, self._promise = parts.algorithm, promise
        platform = parts.scenario.platform
        self._holders = 1 if platform.has_server else platform.clients
        self._ended: dict[int, int] = {}
        self._scores: dict[int, list[Promise[Any]]] = {}
        self._stop, self._record = parts.scenario.stop, parts.scenario.record
        self._on_round = on_round
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
        log.debug("t=%.6fs %s did %s, round %d", span.end_s, span.node, span.verb, span.round)
        number = self._writer.manifest(span.manifest)
        row = (span.start_s, span.end_s, span.node, span.verb, span.round, span.key, number)
        self._writer.append("activities", row)

    def sent(self, sent: Sent) -> None:
        """A row of ``transfers``; the byte budget ends the run."""
        log.debug("t=%.6fs %s sent %s %d bytes", sent.end_s, sent.source, sent.target, sent.nbytes)
        if sent.source == SERVER:
            self._down_bytes += sent.nbytes
        else:
            self._up_bytes += sent.nbytes
        number = self._writer.manifest(sent.manifest)
        where = (sent.start_s, sent.end_s, sent.source, sent.target, sent.round)
        self._writer.append("transfers", (*where, sent.key, number, sent.nbytes))
        budget = self._stop.bytes
        if budget is not None and self._down_bytes + self._up_bytes >= budget:
            self._end(f"{show_bytes(budget)} sent")

    def observe(self, round: int, state: Promise[Any], node: Node | None = None) -> None:
        """A state after a round: evaluate, checkpoint; with the last of the round, report."""
        if round % self._record.evaluate_every == 0:
            self._evaluate(round, state, node.name if node else SERVER)
        if round % self._record.checkpoint_every == 0:
            self._writer.flush()
            self._store.checkpoint(state)
        self._ended[round] = self._ended.get(round, 0) + 1
        if self._ended[round] == self._holders:
            del self._ended[round]
            self._end_round(round)

    def _end_round(self, round: int) -> None:
        """The server, or the last of the peers, has ended it."""
        log.info("t=%.3fs round %d ended", self._env.now, round)
        scores = self._scores.pop(round, [])
        if scores:
            found = [score.manifest.metrics["accuracy"] for score in scores]
            self._accuracy = sum(found) / len(found)
            self._stop_if_accurate(self._accuracy)
        if self._on_round:
            sent = self._down_bytes + self._up_bytes
            now = Progress(round=round, time_s=self._env.now, nbytes=sent, accuracy=self._accuracy)
            self._on_round(now)

    def _evaluate(self, round: int, state: Promise[Any], node: str) -> None:
        score = self._promise(self._algorithm.score, state)
        # held until the round ends: peers that hold the same model are scored once
        self._scores.setdefault(round, []).append(score)
        metrics = score.manifest.metrics
        row = (
            self._env.now,
            round,
            node,
            score.key,
            metrics["accuracy"],
            metrics["loss"],
            state.manifest.nonzero,
            self._down_bytes,
            self._up_bytes,
        )
        self._writer.append("scores", row)

    def _stop_if_accurate(self, accuracy: float) -> None:
        target, wanted = self._stop.accuracy, self._stop.consecutive
        if target is not None:
            self._in_a_row = self._in_a_row + 1 if accuracy >= target else 0
            if self._in_a_row >= wanted:
                self._end(f"accuracy {target:g} in {wanted} evaluations in a row")

    def _end(self, why: str) -> None:
        if not self.ended.triggered:
            self.ended.succeed(why)


class Tape:
    """An observer that keeps what happened."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.transfers: list[Sent] = []

    @property
    def initial(self) -> Span:
        """What the server, or the last of the peers, did before the first round."""
        first = (span for span in self.spans if span.verb == "initial")
        return max(first, key=lambda span: span.end_s)

    @property
    def slowest(self) -> Span:
        """The longest training of a client or peer."""
        training = (span for span in self.spans if span.verb == "train")
        return max(training, key=lambda span: span.end_s - span.start_s)

    @property
    def computation_s(self) -> float:
        """Seconds that the slowest client or peer trained."""
        return self.slowest.end_s - self.slowest.start_s

    @property
    def communication_s(self) -> float:
        """The rest of the round: network, waiting, aggregating or mixing."""
        end_s = max(span.end_s for span in self.spans)
        return end_s - self.initial.end_s - self.computation_s

    def computed(self, span: Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def sent(self, sent: Sent) -> None:
        """Keep it."""
        self.transfers.append(sent)


class Forecast:
    """An artifact without a value: its counts are those of what it is made from."""

    def __init__(
        self, verb: Callable[..., Any], args: tuple[Any, ...], first: Callable[[], Manifest]
    ) -> None:
        self.key: Key = Recipe(verb, verb.__name__, args).key
        counted = [c for c in map(_counts, args) if isinstance(c, Manifest | Received)]
        found = counted[0] if counted else first()
        self._manifest: Manifest = found.payload if isinstance(found, Received) else found

    @property
    def manifest(self) -> Manifest:
        """Its counts."""
        return self._manifest

    @property
    def value(self) -> Any:
        """There is none: a plan never looks."""
        raise AssertionError("a forecast has no value")
