"""Nodes: a device at a place in the network, that computes, sends and receives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from simpy import Environment, Event, Interrupt, Process

from simfl.cost.device import DeviceModel
from simfl.cost.energy import Meter
from simfl.cost.variation import Unit
from simfl.events.activity import Activity
from simfl.events.network import Cut, Network
from simfl.events.observer import Observer, Sent, Span
from simfl.memo import Artifact
from simfl.work import Manifest, Workload

T = TypeVar("T")
_COSTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What all nodes share.

    Attributes:
        returned: called with a node whenever it is there again.
        promise: a verb and its arguments -> the artifact of its result.
        start: begins an artifact's computation, to be joined when its counts are asked for.
        work: a verb and its arguments -> what it asks of a device.
        nbytes: a payload's manifest -> bytes of its message.
    """

    env: Environment
    network: Network
    observer: Observer
    returned: Callable[[Node], None]
    promise: Callable[..., Artifact[Any]]
    start: Callable[[Any], None]
    work: Callable[..., Workload]
    nbytes: Callable[[Manifest], int]


class Node:
    """One participant of the simulation.

    Attributes:
        name: its place in the network.
        index: its logical coordinate among the clients or peers; -1 for the server.
        meter: is told when it computes, sends and receives, and for how long, cut or not.
        changed: triggered when it leaves or comes back next.
        there: whether it takes part now.
        gone: whether it never comes back.

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
        self.there, self.gone = True, False
        self._away_for: set[str] = set()
        self._acting: dict[Process, None] = {}
        self.changed = world.env.event()

    def leave(self, why: str = "left", *, for_good: bool = False) -> None:
        """Be away for this reason from now on: what it does and waits for is cut."""
        there, world = self.there, self._world
        self._away_for.add(why)
        self.there, self.gone = False, self.gone or for_good
        if there:
            for process in list(self._acting):
                process.interrupt(why)
            self.meter.away.begin(world.env.now)
            world.observer.left(self.name, why)
            self._change()

    def come_back(self, why: str = "left") -> None:
        """Be there again, with what it held, if nothing else keeps it away."""
        if why not in self._away_for:
            return
        self._away_for.remove(why)
        self.there = not self._away_for
        if self.there:
            self.meter.away.end(self._world.env.now)
            self._world.observer.returned(self.name)
            self._change()
            self._world.returned(self)

    def _change(self) -> None:
        changed, self.changed = self.changed, self._world.env.event()
        changed.succeed()

    def present(self) -> Activity[None]:
        """Wait until it is there."""
        while not self.there:
            yield self.changed

    def cut_where_it_leaves(self, activity: Activity[T]) -> Activity[T]:
        """Something else that it does.

        Raises:
            Interrupt: it is away, or leaves.
        """
        process = self._begin()
        try:
            return (yield from activity)
        finally:
            self._acting.pop(process, None)

    def _begin(self) -> Process:
        """What the present process does from now on is cut where this node leaves."""
        if not self.there:
            raise Interrupt("away")
        process = self._world.env.active_process
        assert process is not None
        self._acting[process] = None
        return process

    def compute(self, verb: Callable[..., T], *args: Any, round: int = 0) -> Activity[Artifact[T]]:
        """Compute on this node's device, after what it is computing already.

        Returns:
            The artifact of ``verb(*args)``.

        Raises:
            DeviceMemoryError: the device cannot hold it.
            Interrupt: it is away, leaves, or was interrupted.
        """
        process = self._begin()
        try:
            if self._busy:
                yield from self._wait()
            self._busy = True
            return (yield from self._occupied(verb, args, round))
        finally:
            self._acting.pop(process, None)

    def _occupied(
        self, verb: Callable[..., T], args: tuple[Any, ...], round: int
    ) -> Activity[Artifact[T]]:
        world, unit = self._world, self._unit
        start_s = world.env.now
        self.meter.compute.begin(start_s)

        def report(manifest: Manifest | None) -> None:
            span = Span(
                start_s=start_s,
                end_s=world.env.now,
                node=self.name,
                verb=verb.__name__,
                round=round,
                key=artifact.key,
                manifest=manifest,
            )
            world.observer.computed(span)

        try:
            work = world.work(verb, *args)
            seconds = self._seconds(work)
            if unit is not None:
                seconds = unit.seconds(work, seconds, verb.__name__, round, start_s)
            artifact: Artifact[T] = world.promise(verb, *args)
            world.start(artifact)
            yield world.env.timeout(seconds)
        except Interrupt:
            report(None)
            raise
        finally:
            end_s = world.env.now
            self.meter.compute.end(end_s)
            if unit is not None:
                unit.computed(start_s, end_s)
            self._release()
        report(artifact.manifest)
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

    def send(self, to: Node, payload: Artifact[T], round: int = 0) -> Activity[Artifact[T]]:
        """Send a payload; ends when its last byte has arrived.

        Returns:
            The payload, for whoever follows it to the other side.

        Raises:
            Interrupt: one of the two is away or leaves, or it was interrupted.
        """
        world, start_s = self._world, self._world.env.now
        nbytes = world.nbytes(payload.manifest)
        sending, receiving = self.meter.transmit, to.meter.receive

        def report(nbytes: int, *, cut: bool) -> None:
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
                cut=cut,
            )
            world.observer.sent(sent)

        process = self._begin()
        try:
            to._begin()
            sending.begin(start_s)
            receiving.begin(start_s)
            try:
                yield from world.network.transfer(self.name, to.name, nbytes)
            except Interrupt as cut:
                report(cut.crossed_bytes if isinstance(cut, Cut) else 0, cut=True)
                raise
        finally:
            self._acting.pop(process, None)
            to._acting.pop(process, None)
        report(nbytes, cut=False)
        return payload
