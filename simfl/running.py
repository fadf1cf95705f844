"""A run under way: its parts, the nodes and their clock."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from math import ceil
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
from simfl.events.cohorts import Cohorts
from simfl.events.network import Network
from simfl.events.node import Node, World
from simfl.events.observer import Observer
from simfl.events.presence import come_and_go, run_down
from simfl.keys import seed_of
from simfl.learning.problem import Problem
from simfl.memo import Artifact, counted
from simfl.networks.base import Wiring
from simfl.scenario import Scenario
from simfl.work import Manifest, Participant, Turn, Workload

log = logging.getLogger(__name__)

_SERVER: Final = Participant(index=-1, samples=0)
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
            returned=lambda node: self.cohorts.returned(node),
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
        choice = parts.scenario.selection
        self.cohorts = Cohorts(
            env,
            self.clients,
            samples=lambda node: parts.problem.participants[node.index].samples,
            turn_s=self._turn_s,
            select=partial(choice.plugin().build, choice.options),
            seed=parts.scenario.seed,
            asks_for_losses=choice.options.needs_losses,  # type: ignore[attr-defined]
        )
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

    def draw(self, *coordinates: str | int) -> Random:
        """Seeded by the scenario and these."""
        return Random(seed_of(self._parts.scenario.seed, *coordinates))

    def _turn_s(self, node: Node) -> float:
        """What a client's turn with the first model takes, by counting."""
        work = self._work(self._parts.algorithm.train, self._first, Turn(node.index, 1))
        return node.device.seconds(work)

    @cached_property
    def _first(self) -> Manifest:
        return self._parts.algorithm.forecast()

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


def meters_of(parts: Parts) -> Meters:
    """Meters of all nodes; apart those of server and aggregators, which serve others too."""
    draws = {node: device.power for node, device in parts.devices.items()}
    return Meters(draws, apart=parts.scenario.platform.above)


def _senders(scenario: Scenario) -> int:
    """How many nodes may send at once: the cohort, or everybody."""
    options, everybody = scenario.protocol.options, len(scenario.platform.nodes)
    cohort = getattr(options, "cohort", None) or getattr(options, "concurrency", None) or everybody
    return min(ceil(cohort * getattr(options, "over_selection", 1.0)), everybody)
