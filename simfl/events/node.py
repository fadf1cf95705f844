"""Nodes: a device at a place in the network, that computes, sends and receives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from simpy import Environment, Event, FilterStore

from simfl.cost.device import DeviceModel
from simfl.cost.energy import Meter
from simfl.cost.variation import Unit
from simfl.events.activity import Activity
from simfl.events.network import Network
from simfl.events.observer import Observer, Sent, Span
from simfl.memo import Artifact
from simfl.work import Manifest, Workload

T = TypeVar("T")
_COSTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What all nodes share.

    Attributes:
        promise: a verb and its arguments -> the artifact of its result.
        start: begins an artifact's computation, to be joined when its counts are asked for.
        work: a verb and its arguments -> what it asks of a device.
        nbytes: a payload's manifest -> bytes of its message.
    """

    env: Environment
    network: Network
    observer: Observer
    promise: Callable[..., Artifact[Any]]
    start: Callable[[Any], None]
    work: Callable[..., Workload]
    nbytes: Callable[[Manifest], int]


@dataclass(frozen=True, slots=True)
class _Message:
    """What lies in an inbox."""

    sender: str
    tag: Hashable
    payload: Artifact[Any]


class Node:
    """One participant of the simulation.

    Attributes:
        name: its place in the network.
        index: its logical coordinate among the clients or peers; -1 for the server.
        meter: is told when it computes, sends and receives, and for how long, cut or not.

    Args:
        unit: how this board differs from its model; None: it does not.
    """

    def __init__(
        self,
        world: World,
        name: str,
        index: int,
        device: DeviceModel,
        unit: Unit | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.name = name
        self.index = index
        self.device = device
        self.meter = meter or Meter()
        self._world, self._unit = world, unit
        self._busy = False
        self._waiting: deque[Event] = deque()
        self._costs: dict[int, tuple[Workload, float]] = {}
        self._inbox = FilterStore(world.env)

    def compute(self, verb: Callable[..., T], *args: Any, round: int = 0) -> Activity[Artifact[T]]:
        """Compute on this node's device, after what it is computing already.

        Returns:
            The artifact of ``verb(*args)``.

        Raises:
            DeviceMemoryError: the device cannot hold it.
        """
        world, unit = self._world, self._unit
        if self._busy:
            yield from self._wait()
        self._busy = True
        start_s = world.env.now
        self.meter.compute.begin(start_s)
        try:
            work = world.work(verb, *args)
            seconds = self._seconds(work)
            if unit is not None:
                seconds = unit.seconds(work, seconds, verb.__name__, round, start_s)
            artifact: Artifact[T] = world.promise(verb, *args)
            world.start(artifact)
            yield world.env.timeout(seconds)
        finally:
            end_s = world.env.now
            self.meter.compute.end(end_s)
            if unit is not None:
                unit.computed(start_s, end_s)
            self._release()
        span = Span(
            start_s=start_s,
            end_s=world.env.now,
            node=self.name,
            verb=verb.__name__,
            round=round,
            key=artifact.key,
            manifest=artifact.manifest,
        )
        world.observer.computed(span)
        return artifact

    def _wait(self) -> Activity[None]:
        """For the processor, in the order of asking."""
        turn = self._world.env.event()
        self._waiting.append(turn)
        try:
            yield turn
        except BaseException:
            if turn.triggered:
                self._release()
            else:
                self._waiting.remove(turn)
            raise

    def _release(self) -> None:
        """The processor goes to whoever waits longest, still busy, or is free."""
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._busy = False

    def _seconds(self, work: Workload) -> float:
        """What the device takes; workloads come again and again, so it is asked once."""
        known = self._costs.get(id(work))
        if known is None:
            self.device.check(work)
            if len(self._costs) >= _COSTS:
                self._costs.clear()
            known = self._costs[id(work)] = work, self.device.seconds(work)
        return known[1]

    def send(
        self, to: Node, payload: Artifact[T], tag: Hashable = None, round: int = 0
    ) -> Activity[Artifact[T]]:
        """Send a payload; ends when its last byte has arrived.

        With a tag it is also laid in the receiver's inbox.

        Returns:
            The payload, for whoever follows it to the other side.
        """
        world, start_s = self._world, self._world.env.now
        nbytes = world.nbytes(payload.manifest)
        sending, receiving = self.meter.transmit, to.meter.receive
        sending.begin(start_s)
        receiving.begin(start_s)
        try:
            yield from world.network.transfer(self.name, to.name, nbytes)
        finally:
            end_s = world.env.now
            sending.end(end_s)
            receiving.end(end_s)
        sent = Sent(
            start_s=start_s,
            end_s=end_s,
            source=self.name,
            target=to.name,
            round=round,
            key=payload.key,
            manifest=payload.manifest,
            nbytes=nbytes,
        )
        world.observer.sent(sent)
        if tag is not None:
            yield to._inbox.put(_Message(self.name, tag, payload))
        return payload

    def receive(self, sender: Node | None = None, tag: Hashable = None) -> Activity[Artifact[Any]]:
        """Take the first message of that sender and tag from the inbox (None: of any), or wait."""

        def fits(message: _Message) -> bool:
            return (sender is None or message.sender == sender.name) and (
                tag is None or message.tag == tag
            )

        message: _Message = yield self._inbox.get(fits)
        return message.payload
