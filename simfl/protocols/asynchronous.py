"""Clients train at their own pace; the server takes their updates as they come.

So many clients train at any time. Whoever has sent its update makes room for another, chosen
among those that are idle and there. Once enough updates wait, the server takes them into the next
version of the model, each made as if it had begun from the present one, and counted the less the
more versions have passed since it was begun. A client that leaves loses its turn; when it is there
again, it may be chosen anew. An update of a network that has been cut since is let go.

Source: FedBuff (Nguyen et al. 2022), Algorithm 1: ``update: difference``; with ``buffer: 1`` and
``update: model``, FedAsync (Xie et al. 2019), Algorithm 1, ``rate`` its alpha. The weights of
staleness are FedAsync's, section 5.2. FedBuff's mean is uniform: say so to the algorithm.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, Literal

from pydantic import Field

from simfl.algorithms.base import AnyAlgorithm
from simfl.errors import ProtocolError
from simfl.events.activity import Activity, unless_cut
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Positive
from simfl.protocols.base import ProtocolOptions, Run, RunProtocol, messages
from simfl.protocols.visits import refuse_strangers, visit
from simfl.registry import PROTOCOLS
from simfl.work import Turn

_LOST_IN_A_ROW = 100


class AsynchronousOptions(ProtocolOptions):
    """How updates come in.

    Attributes:
        rounds: versions of the model that the server makes.
        buffer: updates that it takes for one: FedBuff's K.
        concurrency: clients that train at a time; left out, all of them.
        update: what is taken of one: its ``difference`` from the model that it was sent, or the
            ``model``, mixed into the present one.
        rate: the server's learning rate, or of a model its share in the mix.
        staleness: how the weight falls with the versions t that passed meanwhile: ``constant``;
            ``polynomial``, (t + 1) to the power -a; or ``hinge``, 1 until b, then 1 / (a (t - b) +
            1).
        a: see there; FedBuff's is 0.5.
        b: of the hinge.
    """

    rounds: Positive
    buffer: Positive = 10
    concurrency: Positive | None = None
    update: Literal["difference", "model"] = "difference"
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    staleness: Literal["constant", "polynomial", "hinge"] = "polynomial"
    a: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    b: Annotated[int, Field(ge=0)] = 4

    def weight(self, versions: int) -> float:
        """Of an update that is so many versions old.

        >>> AsynchronousOptions(rounds=1, staleness="hinge", a=10, b=4).weight(5)
        0.09090909090909091
        """
        if self.staleness == "polynomial":
            return float(self.rate * (versions + 1) ** -self.a)
        if self.staleness == "hinge" and versions > self.b:
            return self.rate / (self.a * (versions - self.b) + 1)
        return self.rate


@dataclass(frozen=True, slots=True)
class _Update:
    """What has arrived, of which turn, made from what and which version."""

    turn: Turn
    received: Received[Any]
    base: Artifact[Any]
    version: int


@PROTOCOLS.register("asynchronous", options=AsynchronousOptions)
def asynchronous(run: Run, algorithm: AnyAlgorithm, options: AsynchronousOptions) -> Activity[None]:
    """As many loops as clients train at a time, and the server's own."""
    refuse_strangers(run)
    server, version = run.server, 0
    model = yield from server.compute(algorithm.initial)
    run.observe(0, model)
    choices, idle, turns = count(1), list(run.clients), dict.fromkeys(run.clients, 0)
    buffer: list[_Update] = []
    full, lost = run.env.event(), 0

    def loop() -> Activity[None]:
        nonlocal lost
        while lost < _LOST_IN_A_ROW * len(run.clients):
            [client] = yield from run.cohorts.choose(1, next(choices), idle)
            idle.remove(client)
            turns[client] = max(turns[client], version) + 1
            turn, begun = Turn(client.index, turns[client]), version
            [(_, sent)] = messages(run, algorithm, model, [client])
            received = yield from unless_cut(
                visit(run, algorithm, client, sent, turn, round=begun + 1)
            )
            insort(idle, client, key=_index)
            lost += 1
            if received is not None:
                lost = 0
                buffer.append(_Update(turn, received, sent, begun))
            if len(buffer) >= options.buffer and not full.triggered:
                full.succeed()
        if not full.triggered:
            told = f"nobody stays for a whole turn: {lost} were lost in a row"
            full.fail(ProtocolError(f"{told}; give longer spells, or shorter turns"))

    for _ in range(min(options.concurrency or len(run.clients), len(run.clients))):
        run.env.process(loop())
    while version < options.rounds:
        if len(buffer) < options.buffer:
            full = run.env.event()
            yield full
        taken, buffer[:] = buffer[: options.buffer], buffer[options.buffer :]
        fresh = []
        for update in sorted(taken, key=lambda u: (u.turn.client, u.turn.index)):
            stale = version - update.version
            client = run.clients[update.turn.client]
            [(_, now)] = messages(run, algorithm, model, [client])
            if stale and not _fits(update.received.payload, now):
                continue
            base = now if options.update == "model" else update.base
            weight, payload = options.weight(stale), update.received.payload
            if stale or weight != 1.0:
                payload = yield from server.compute(
                    algorithm.rebase, now, payload, base, weight, round=version + 1
                )
            fresh.append(Received(payload, update.received.sender))
        version += 1
        if fresh:
            model = yield from server.compute(
                algorithm.aggregate, model, tuple(fresh), round=version
            )
        run.observe(version, model, updates=len(fresh))


def _index(client: Node) -> int:
    return client.index


def _fits(update: Artifact[Any], now: Artifact[Any]) -> bool:
    """Whether it has all tensors of the present model, in their present shapes: by counts."""
    shapes = {tensor.name: tensor.shape for tensor in update.manifest.tensors}
    return all(shapes.get(tensor.name) == tensor.shape for tensor in now.manifest.tensors)


_: RunProtocol = asynchronous
