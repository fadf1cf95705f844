"""Synchronous rounds with a server.

Source: McMahan et al. 2017, Algorithm 1; with pruning, Jiang et al. 2019, section 3.2.3.
"""

from __future__ import annotations

from typing import Any

from simfl.algorithms.base import AnyAlgorithm
from simfl.errors import ProtocolError
from simfl.events.activity import Activity, parallel
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Positive
from simfl.protocols.base import ProtocolOptions, Run, RunProtocol, messages
from simfl.registry import PROTOCOLS
from simfl.work import Turn


class SynchronousOptions(ProtocolOptions):
    """Rounds and cohort.

    Attributes:
        cohort: clients drawn for each round, without replacement; left out, all of them.
    """

    rounds: Positive
    cohort: Positive | None = None


@PROTOCOLS.register("synchronous", options=SynchronousOptions)
def synchronous(run: Run, algorithm: AnyAlgorithm, options: SynchronousOptions) -> Activity[None]:
    """Send the model to a cohort, train there, collect, aggregate; a round waits for everybody."""
    server, overlay = run.server, run.overlay
    strangers = [c.name for c in run.clients if not overlay.has_edge(server.name, c.name)]
    if strangers:
        raise ProtocolError(
            f"synchronous rounds need every client beside the server; {strangers[0]} is not"
        )
    model = yield from server.compute(algorithm.initial)
    run.observe(0, model)

    def visit(client: Node, t: int, message: Artifact[Any]) -> Activity[Received[Any]]:
        down = yield from server.send(client, message, round=t)
        received = Received(down, run.participant(server))
        local = yield from client.compute(algorithm.adopt, run.state_of(client), received, round=t)
        local = yield from client.compute(algorithm.train, local, Turn(client.index, t), round=t)
        run.keep_state(client, local)
        up = yield from client.send(server, run.promise(algorithm.share, local), round=t)
        return Received(up, run.participant(client))

    for t in range(1, options.rounds + 1):
        cohort = run.sample(options.cohort, t)
        pairs = zip(cohort, messages(run, algorithm, model, cohort), strict=True)
        updates = yield from parallel(run.env, (visit(c, t, message) for c, message in pairs))
        model = yield from server.compute(algorithm.aggregate, model, tuple(updates), round=t)
        run.observe(t, model)


_: RunProtocol = synchronous
