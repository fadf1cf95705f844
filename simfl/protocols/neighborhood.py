"""Rounds among neighbours, without a server: train, exchange, mix.

A peer waits for its neighbours only, so some may be rounds ahead of others. One that leaves is not
waited for; that it has left, and that a message to or from it is lost, is known at once (assumed: a
connection that breaks says so). When it is there again, it goes on with the model that it had, in
the round of the furthest of its neighbours that are there. The run is over when every peer that is
there has ended its rounds.

Source: Pinto et al. 2025 (DFL-Trim), Algorithm 1; with an algorithm that does not prune, D-PSGD
(Lian et al. 2017, Algorithm 1) with local updates.

Departs from D-PSGD: a peer mixes after its local update and not beside it, as DFL-Trim does.
"""

from __future__ import annotations

from math import inf
from typing import Any

from simpy import Event

from simfl.algorithms.base import AnyAlgorithm
from simfl.errors import ProtocolError
from simfl.events.activity import Activity, unless_cut
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Positive
from simfl.protocols.base import Ending, ProtocolOptions, Run, RunProtocol, messages
from simfl.registry import PROTOCOLS
from simfl.topologies.base import islands
from simfl.work import Turn


class NeighborhoodOptions(ProtocolOptions):
    """How many rounds."""

    needs_server = False

    rounds: Positive


@PROTOCOLS.register("neighborhood", options=NeighborhoodOptions)
def neighborhood(run: Run, algorithm: AnyAlgorithm, options: NeighborhoodOptions) -> Activity[None]:
    """Every peer for itself, in step with its neighbours."""
    apart = islands(run.overlay)
    if apart:
        raise ProtocolError(f"{apart}; join them in the topology")
    post, ending = _Post(run), Ending(run)

    def peer(node: Node) -> Activity[None]:
        state = None
        while state is None:
            ending.look()
            yield from node.present()
            state = yield from unless_cut(node.compute(algorithm.initial))
        run.observe(0, state, node)
        r = 1
        while r <= options.rounds:
            post.enter(node, r)
            mixed = yield from unless_cut(one_round(node, state, r))
            if mixed is not None:
                state, updates = mixed
                run.observe(r, state, node, updates)
                r += 1
            elif not node.there:
                post.leave(node)
                ending.look()
                yield from node.present()
                r = max(r, post.furthest(node))
        post.enter(node, r)
        ending.done(node)

    def one_round(node: Node, state: Artifact[Any], r: int) -> Activity[tuple[Artifact[Any], int]]:
        neighbors = post.neighbors[node]
        state = yield from node.compute(algorithm.train, state, Turn(node.index, r), round=r)
        for neighbor, message in messages(run, algorithm, state, neighbors):
            run.env.process(post.send(node, neighbor, message, r))
        received = []
        for neighbor in neighbors:
            payload = yield from node.cut_where_it_leaves(post.receive(node, neighbor, r))
            if payload is not None:
                received.append(Received(payload, run.participant(neighbor)))
        state = yield from node.compute(algorithm.mix, state, tuple(received), round=r)
        return state, len(received)

    for node in run.peers:
        run.env.process(peer(node))
    yield ending.over


class _Post:
    """Messages of rounds: each one arrives, or is known not to."""

    def __init__(self, run: Run) -> None:
        self._env = run.env
        self._round = dict.fromkeys(run.peers, 0)
        # the last round of which a peer has begun to send
        self._sent = dict.fromkeys(run.peers, 0)
        # by receiver, its letters by sender and round: arrived, on their way, or waited for
        self._letters: dict[Node, dict[tuple[Node, int], Event]] = {n: {} for n in run.peers}
        # in the order of the peers, whoever's message arrives first
        self.neighbors = {
            node: [other for other in run.peers if run.overlay.has_edge(node.name, other.name)]
            for node in run.peers
        }

    def enter(self, node: Node, round: int) -> None:
        """A peer is in that round: of those before, it sends and reads nothing more."""
        self._round[node] = round
        self._give_up(node, round)
        letters = self._letters[node]
        for key in [(other, r) for other, r in letters if r < round]:
            del letters[key]

    def leave(self, node: Node) -> None:
        """A peer is away: what it has not begun to send does not come."""
        self._give_up(node, inf)

    def furthest(self, node: Node) -> int:
        """The round of the furthest of a peer's neighbours that are there; 0: nobody is."""
        rounds = (self._round[other] for other in self.neighbors[node] if other.there)
        return max(rounds, default=0)

    def send(self, node: Node, to: Node, message: Artifact[Any], round: int) -> Activity[None]:
        """What arrives is laid ready; of what is cut, that is."""
        self._sent[node] = round
        letter = self._letters[to].setdefault((node, round), self._env.event())
        payload = yield from unless_cut(node.send(to, message, round=round))
        if not letter.triggered:
            letter.succeed(payload)

    def receive(self, node: Node, of: Node, round: int) -> Activity[Artifact[Any] | None]:
        """A neighbour's message of a round, or None once it is known that none comes."""
        letters = self._letters[node]
        if (of, round) not in letters:
            if not of.there or self._round[of] > round:
                return None
            letters[of, round] = self._env.event()
        payload: Artifact[Any] | None = yield letters[of, round]
        letters.pop((of, round), None)
        return payload

    def _give_up(self, node: Node, before: float) -> None:
        """Whoever waits for a peer's message of a round before, not begun, waits no more."""
        for neighbor in self.neighbors[node]:
            for (other, round), letter in self._letters[neighbor].items():
                unsent = other is node and self._sent[node] < round < before
                if unsent and not letter.triggered:
                    letter.succeed(None)


_: RunProtocol = neighborhood
