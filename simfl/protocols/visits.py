"""What a server does with one client: send it a model, let it train, have its update."""

from __future__ import annotations

from typing import Any

from simfl.algorithms.base import AnyAlgorithm
from simfl.errors import ProtocolError
from simfl.events.activity import Activity
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.protocols.base import Run
from simfl.work import Turn


def refuse_strangers(run: Run) -> None:
    """Every client must be beside the server.

    Raises:
        ProtocolError: one is not.
    """
    server = run.server.name
    stranger = next((c.name for c in run.clients if not run.overlay.has_edge(server, c.name)), None)
    if stranger is not None:
        raise ProtocolError(
            f"the server visits every client, and {stranger} is not beside it in the topology; "
            "take a star"
        )


def visit(
    run: Run,
    algorithm: AnyAlgorithm,
    client: Node,
    message: Artifact[Any],
    turn: Turn,
    *,
    by: Node | None = None,
    round: int,
) -> Activity[Received[Any]]:
    """One turn of a client; what it computed and sent until it is cut is charged.

    Args:
        run: the run.
        algorithm: what it trains by.
        client: who.
        message: what it is sent.
        turn: its turn, in logical coordinates.
        by: who sends the model and takes the update; the server, where nobody is named.
        round: under which it is recorded.

    Raises:
        Interrupt: the client left, or was not waited for.
    """
    server, start_s = by or run.server, run.env.now
    down = yield from server.send(client, message, round=round)
    received = Received(down, run.participant(server))
    local = yield from client.compute(algorithm.adopt, run.state_of(client), received, round=round)
    loss = None
    if run.cohorts.asks_for_losses:
        loss = yield from client.compute(algorithm.loss, local, turn, round=round)
    local = yield from client.compute(algorithm.train, local, turn, round=round)
    run.keep_state(client, local)
    up = yield from client.send(server, run.promise(algorithm.share, local), round=round)
    run.cohorts.came_back(client, run.env.now - start_s, loss)
    return Received(up, run.participant(client))
