"""A run under way: its parts, the nodes and their clock; and a plan, in which nothing is learnt."""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import ceil
from operator import attrgetter
from random import Random
from typing import Any, Final

import networkx as nx
import simpy

from simfl.algorithms.base import AnyAlgorithm
from simfl.availability.base import Spell
from simfl.cost.carrier import LinkUse
from simfl.cost.carriers import carrier
from simfl.cost.device import Device
from simfl.cost.energy import Meters
from simfl.cost.population import Population
from simfl.cost.variation import Realization
from simfl.cost.wires import SERVER
from simfl.datafolder import Located
from simfl.errors import DeviceMemoryError
from simfl.events.activity import Activity
from simfl.events.network import Network
from simfl.events.node import Node, World
from simfl.events.observer import Observer, Sent, Span
from simfl.events.presence import come_and_go, run_down
from simfl.keys import Key, seed_of
from simfl.learning.problem import Problem
from simfl.memo import Artifact, Received, Recipe, counted
from simfl.networks.base import Wiring
from simfl.scenario import Scenario
from simfl.selection.base import Candidate, Pool
from simfl.work import Manifest, Participant, Turn, Workload

log = logging.getLogger(__name__)

_SERVER: Final = Participant(index=-1, samples=0)
# faster than asking each in a loop: a choice among ten thousand is made for each turn
_INDEX: Final = attrgetter("index")
Promiser = Callable[..., Artifact[Any]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything a scenario names, built; no clock yet.

    Attributes:
        groups: by device group, the device or the population that its nodes are of.
        devices: by node, its own.
        availability: when clients or peers are there; begins anew with each call.
        charges_j: by node that lives on its battery, what it has at the beginning.
        notes: what a person should know of the devices.
    """

    scenario: Scenario
    located: Located
    problem: Problem
    algorithm: AnyAlgorithm
    codec: Any
    groups: dict[str, Device | Population]
    devices: dict[str, Device]
    wiring: Wiring
    overlay: nx.Graph[str]
    availability: Callable[[], Mapping[str, Iterator[Spell]]] = dict
    charges_j: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Simulation:
    """The nodes of one run, and what a protocol may ask of it (`simfl.protocols.base.Run`)."""

    def __init__(
        self,
        env: simpy.Environment,
        parts: Parts,
        observer: Observer,
        promise: Promiser,
        observe: Callable[..., None],
        start: Callable[[Any], None] = lambda _: None,
        *,
        meters: Meters | None = None,
        verify: bool = False,
    ) -> None:
        self.env = env
        self.overlay = parts.overlay
        self.promise = promise
        self.observe = observe
        self._parts = parts
        self._states: dict[int, Artifact[Any]] = {}
        self._seen: dict[int, _Seen] = {}
        self._seeking: deque[simpy.Event] = deque()
        wiring, platform = parts.wiring, parts.scenario.platform
        drawn = Realization(seed=parts.scenario.seed, **dict(platform.variation))
        carries = carrier(
            wiring.wires,
            wiring.transport,
            wiring.framing,
            seed=drawn.network_seed,
            senders=_senders(parts.scenario),
        )
        self._network = Network(env, carries, verify=verify)
        world = World(
            env=env,
            network=self._network,
            observer=observer,
            promise=promise,
            start=start,
            work=self._work,
            returned=self._returned,
            # counts repeat from round to round, so their sizes are worked out once
            nbytes=lru_cache(maxsize=4096)(parts.codec.nbytes),
        )
        meters = meters or meters_of(parts)
        nodes = []
        for name, index in platform.indices.items():
            device = parts.devices[name]
            unit = drawn.unit_of(device, name)
            nodes.append(Node(world, name, index, device, unit, meters[name]))
        self._servers = [node for node in nodes if node.index == -1]
        self.aggregators = [node for node in nodes if node.index < -1]
        others = [node for node in nodes if node.index >= 0]
        self.clients, self.peers = (others, []) if self._servers else ([], others)
        spells = parts.availability()
        for node in others:
            if node.name in spells:
                env.process(come_and_go(env, node, spells[node.name]))
            if node.name in parts.charges_j:
                env.process(run_down(env, node, parts.charges_j[node.name]))

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
        # what stands by now stays: going through it again and again took a third of an event's time
        gc.freeze()
        over: simpy.Event = process if ended is None else process | ended
        try:
            self.env.run(until=over)
        except RuntimeError as error:
            if over.triggered or "No scheduled events left" not in str(error):
                raise
            return "nobody is left, and nobody comes back"
        except DeviceMemoryError as error:
            mend = algorithm.holds_from(self._everybody_holds)
            raise DeviceMemoryError(
                f"{error}; {mend or 'take another device, batch size or model'}"
            ) from error
        finally:
            gc.unfreeze()
        if ended is not None and ended.triggered:
            return str(ended.value)
        return f"{getattr(options, 'rounds', 0)} rounds"

    def uses(self) -> list[LinkUse]:
        """What has crossed each link by now.

        Raises:
            NetworkError: a run that verifies finds bytes from nowhere.
        """
        return self._network.uses()

    def somebody(self, among: Sequence[Node] | None = None) -> Activity[list[Node]]:
        """Those who are there; waits while nobody is."""
        among = self.clients if among is None else among
        while not (there := [node for node in among if node.there]):
            returned = self.env.event()
            self._seeking.append(returned)
            yield returned
        return there

    def draw(self, *coordinates: str | int) -> Random:
        """Seeded by the scenario and these."""
        return Random(seed_of(self._parts.scenario.seed, *coordinates))

    def cohort(
        self, size: int | None, number: int, among: Sequence[Node] | None = None
    ) -> Activity[list[Node]]:
        """A cohort of those who are there, in the order of the clients; waits for somebody."""
        there = list(map(_INDEX, (yield from self.somebody(among))))
        choice = self._parts.scenario.selection
        pool = Pool(
            clients=there,
            size=min(size or len(there), len(there)),
            number=number,
            seed=self._parts.scenario.seed,
            ask=self._candidate,
        )
        chosen = sorted(choice.plugin().build(choice.options, pool))
        for index in chosen:
            self._look_at(index).last_round = number
        return [self.clients[index] for index in chosen]

    @property
    def asks_for_losses(self) -> bool:
        """Whether who chooses cohorts looks at clients' losses."""
        return bool(self._parts.scenario.selection.options.needs_losses)  # type: ignore[attr-defined]

    def came_back(self, client: Node, duration_s: float, loss: Artifact[Any] | None) -> None:
        """A client's turn has come to its end, and so much is known of it."""
        seen = self._look_at(client.index)
        seen.duration_s, seen.loss = duration_s, loss

    def _look_at(self, index: int) -> _Seen:
        return self._seen.setdefault(index, _Seen())

    def _candidate(self, index: int) -> Candidate:
        seen, node = self._look_at(index), self.clients[index]
        if seen.compute_s is None:
            turn = Turn(index, 1)
            work = self._work(self._parts.algorithm.train, self._first, turn)
            seen.compute_s = node.device.seconds(work)
        metrics = seen.loss.manifest.metrics if seen.loss else {}
        return Candidate(
            index=index,
            samples=self._parts.problem.participants[index].samples,
            compute_s=seen.compute_s,
            last_round=seen.last_round,
            duration_s=seen.duration_s,
            loss=metrics.get("loss"),
        )

    @cached_property
    def _first(self) -> Manifest:
        return self._parts.algorithm.forecast()

    def _returned(self) -> None:
        """Somebody is there again: who has sought longest looks anew."""
        if self._seeking:
            self._seeking.popleft().succeed()

    def participant(self, node: Node) -> Participant:
        """A node in logical coordinates."""
        if node.index == -1:
            return _SERVER
        if node.index < -1:
            return self._between[node.index]
        return self._parts.problem.participants[node.index]

    @cached_property
    def _between(self) -> dict[int, Participant]:
        """Who aggregates, with the samples of the clients beside; asked for in each turn."""
        held, found = self._parts.problem.participants, {}
        for node in self.aggregators:
            beside = self.overlay[node.name]
            samples = sum(held[c.index].samples for c in self.clients if c.name in beside)
            found[node.index] = Participant(index=node.index, samples=samples)
        return found

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
        return rule(self._parts.algorithm, *map(counted, args))

    def _everybody_holds(self, work: Workload) -> bool:
        others = {id(d): d for node, d in self._parts.devices.items() if node != SERVER}
        for device in others.values():
            try:
                device.check(work)
            except DeviceMemoryError:
                return False
        return True


@dataclass(slots=True)
class _Seen:
    """What a server has seen of a client."""

    last_round: int = 0
    compute_s: float | None = None
    duration_s: float | None = None
    loss: Artifact[Any] | None = None


def meters_of(parts: Parts) -> Meters:
    """Meters of all nodes; apart those of server and aggregators, which serve others too."""
    draws = {node: device.power for node, device in parts.devices.items()}
    return Meters(draws, apart=parts.scenario.platform.above)


def _senders(scenario: Scenario) -> int:
    """How many nodes may send at once: the cohort, or everybody."""
    options, everybody = scenario.protocol.options, len(scenario.platform.nodes)
    cohort = getattr(options, "cohort", None) or getattr(options, "concurrency", None) or everybody
    return min(ceil(cohort * getattr(options, "over_selection", 1.0)), everybody)


class Tape:
    """An observer that keeps what happened."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.transfers: list[Sent] = []
        self.guessed = False
        """Whether some counts are not known by counting: what is pruned in the round is not."""

    @property
    def initial(self) -> Span:
        """What the server, or the last of the peers, did before the first round."""
        first = (span for span in self.spans if span.verb == "initial" and not span.cut)
        return max(first, key=lambda span: span.end_s)

    @property
    def slowest(self) -> Span | None:
        """The longest training of a client or peer; None where nobody has trained."""
        training = (span for span in self.spans if span.verb == "train" and not span.cut)
        return max(training, key=lambda span: span.end_s - span.start_s, default=None)

    @property
    def computation_s(self) -> float:
        """Seconds that the slowest client or peer trained."""
        slowest = self.slowest
        return slowest.end_s - slowest.start_s if slowest else 0.0

    @property
    def communication_s(self) -> float:
        """The rest of the round: network, waiting, aggregating or mixing."""
        end_s = max(span.end_s for span in self.spans)
        return end_s - self.initial.end_s - self.computation_s

    def computed(self, span: Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def left(self, node: str, why: str) -> None:
        """Not kept."""

    def returned(self, node: str) -> None:
        """Not kept."""

    def sent(self, sent: Sent) -> None:
        """Keep it."""
        self.transfers.append(sent)


class Forecast:
    """An artifact without a value: its counts are those of what it is made from.

    Args:
        verb: of an algorithm.
        args: what it would be given.
        first: the counts of what is made from nothing.
        rule: that of the algorithm for the counts of the verb's result, if there is one.
    """

    def __init__(
        self,
        verb: Callable[..., Any],
        args: tuple[Any, ...],
        first: Callable[[], Manifest],
        rule: Callable[..., Manifest | None] | None = None,
    ) -> None:
        recipe = Recipe(verb, verb.__name__, args, counts=rule)
        self.key: Key = recipe.key
        foretold = recipe.forecast()
        self.guessed = rule is not None and foretold is None
        """Whether only computing would tell its counts: they are then those it is made from."""
        self._manifest = foretold or _counts_of_the_first(args) or first()

    @property
    def manifest(self) -> Manifest:
        """Its counts."""
        return self._manifest

    @property
    def value(self) -> Any:
        """There is none: a plan never looks."""
        raise AssertionError("a forecast has no value")


def _counts_of_the_first(args: tuple[Any, ...]) -> Manifest | None:
    """Those of the first state or payload among a verb's arguments."""
    found = (c.payload if isinstance(c, Received) else c for c in map(counted, args))
    return next((c for c in found if isinstance(c, Manifest)), None)
