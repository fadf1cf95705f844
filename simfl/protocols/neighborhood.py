"""Rounds among neighbours, without a server: train, exchange, mix.

Source: Pinto et al. 2025 (DFL-Trim), Algorithm 1; with an algorithm that does not prune, D-PSGD
(Lian et al. 2017, Algorithm 1) with local updates.

Departs from D-PSGD: a peer mixes after its local update and not beside it, as DFL-Trim does.
"""

from __future__ import annotations

from simfl.algorithms.base import AnyAlgorithm
from simfl.errors import ProtocolError
from simfl.events.activity import Activity, parallel
from simfl.events.node import Node
from simfl.memo import Received
from simfl.options import Positive
from simfl.protocols.base import ProtocolOptions, Run, RunProtocol, messages
from simfl.registry import PROTOCOLS
from simfl.topologies.base import islands
from simfl.work import Turn


class NeighborhoodOptions(ProtocolOptions):
    """How many rounds."""

    needs_server = False

    rounds: Positive


@PROTOCOLS.register("neighborhood", options=NeighborhoodOptions)
def neighborhood(run: Run, algorithm: AnyAlgorithm, options: NeighborhoodOptions) -> Activity[None]:
    """Every peer waits for its neighbours only, so some may be rounds ahead of others."""
    apart = islands(run.overlay)
    if apart:
        raise ProtocolError(f"{apart}; join them in the topology")

    def peer(node: Node) -> Activity[None]:
        # in the order of the peers, whoever's message arrives first
        neighbors = [other for other in run.peers if run.overlay.has_edge(node.name, other.name)]
        state = yield from node.compute(algorithm.initial)
        run.observe(0, state, node)
        for r in range(1, options.rounds + 1):
            turn = Turn(node.index, r)
            state = yield from node.compute(algorithm.train, state, turn, round=r)
            sent = messages(run, algorithm, state, neighbors)
            for neighbor, message in zip(neighbors, sent, strict=True):
                run.env.process(node.send(neighbor, message, tag=r, round=r))
            received = []
            for neighbor in neighbors:
                payload = yield from node.receive(neighbor, tag=r)
                received.append(Received(payload, run.participant(neighbor)))
            state = yield from node.compute(algorithm.mix, state, tuple(received), round=r)
            run.observe(r, state, node)

    yield from parallel(run.env, (peer(node) for node in run.peers))


_: RunProtocol = neighborhood
