"""A run under way: its parts, the nodes and their clock; and a plan, in which nothing is learnt."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Final

import networkx as nx
import simpy

from simfl.algorithms.base import AnyAlgorithm
from simfl.cost.carrier import LinkUse
from simfl.cost.carriers import carrier
from simfl.cost.device import Device
from simfl.cost.energy import Meters
from simfl.cost.population import Population
from simfl.cost.variation import Realization
from simfl.cost.wires import SERVER
from simfl.datafolder import Located
from simfl.errors import DeviceMemoryError
from simfl.events.network import Network
from simfl.events.node import Node, World
from simfl.events.observer import Observer, Sent, Span
from simfl.keys import Key, seed_of
from simfl.learning.problem import Problem
from simfl.memo import Artifact, Received, Recipe, counted
from simfl.networks.base import Wiring
from simfl.scenario import Scenario
from simfl.work import Manifest, Participant, Workload

log = logging.getLogger(__name__)

_SERVER: Final = Participant(index=-1, samples=0)
Promiser = Callable[..., Artifact[Any]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything a scenario names, built; no clock yet.

    Attributes:
        groups: by device group, the device or the population that its nodes are of.
        devices: by node, its own.
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
            # counts repeat from round to round, so their sizes are worked out once
            nbytes=lru_cache(maxsize=4096)(parts.codec.nbytes),
        )
        devices = {name: parts.devices[name] for name in platform.nodes}
        meters = meters or meters_of(parts)
        nodes = [
            Node(world, name, index, device, drawn.unit_of(device, name), meters[name])
            for index, (name, device) in enumerate(devices.items(), -platform.has_server)
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
        # what stands by now stays: going through it again and again took a third of an event's time
        gc.freeze()
        try:
            self.env.run(until=process if ended is None else process | ended)
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

    def sample(self, size: int | None, round: int) -> list[Node]:
        """The cohort of a round."""
        if size is None or size == len(self.clients):
            return self.clients
        draw = Random(seed_of(self._parts.scenario.seed, "cohort", round))
        return [self.clients[i] for i in sorted(draw.sample(range(len(self.clients)), size))]

    def participant(self, node: Node) -> Participant:
        """A node in logical coordinates."""
        if node.index < 0:
            return _SERVER
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
        return rule(self._parts.algorithm, *map(counted, args))

    def _everybody_holds(self, work: Workload) -> bool:
        others = {id(d): d for node, d in self._parts.devices.items() if node != SERVER}
        for device in others.values():
            try:
                device.check(work)
            except DeviceMemoryError:
                return False
        return True


def meters_of(parts: Parts) -> Meters:
    """Meters of all nodes. The server's is apart: it serves others too, and is no device's cost."""
    draws = {node: device.power for node, device in parts.devices.items()}
    return Meters(draws, apart={SERVER})


def _senders(scenario: Scenario) -> int:
    """How many nodes may send at once: the cohort, or everybody."""
    cohort: int | None = getattr(scenario.protocol.options, "cohort", None)
    return cohort or len(scenario.platform.nodes)


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
