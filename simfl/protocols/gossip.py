"""Gossip: every peer pushes its model to a neighbour now and then, and learns from what it gets.

Two loops in each peer. The active one waits a period and sends the model to a neighbour that is
there, drawn at random. The passive one mixes what has come into the peer's own model, and trains
it. A peer that is away lets its periods pass; what was on its way from or to it is lost, and it
goes on with the model that it had. The run is over when every peer that is there has had so many.

Source: Hegedus et al. 2021 (Decentralized learning works: An empirical comparison of gossip
learning and federated learning), Algorithm 1.

Departs from the paper: models are mixed by the algorithm's own weights, not by their ages; of what
came while a peer was busy, the newest of each neighbour is mixed at once; each peer's first period
begins at a time drawn within one.
"""

from __future__ import annotations

from typing import Any

from simpy import Event

from simfl.algorithms.base import AnyAlgorithm
from simfl.events.activity import Activity, pause, unless_cut
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Positive, PositiveDuration
from simfl.protocols.base import Ending, ProtocolOptions, Run, RunProtocol, messages
from simfl.registry import PROTOCOLS
from simfl.work import Turn


class GossipOptions(ProtocolOptions):
    """How often, and how many times.

    Attributes:
        rounds: periods of each peer.
        period: between two pushes of one.
    """

    needs_server = False

    rounds: Positive
    period: PositiveDuration


@PROTOCOLS.register("gossip", options=GossipOptions)
def gossip(run: Run, algorithm: AnyAlgorithm, options: GossipOptions) -> Activity[None]:
    """An active and a passive loop in every peer."""
    ending = Ending(run)
    states: dict[Node, Artifact[Any]] = {}
    came: dict[Node, dict[Node, Artifact[Any]]] = {node: {} for node in run.peers}
    wakes: dict[Node, Event] = {node: run.env.event() for node in run.peers}
    period, mixed = dict.fromkeys(run.peers, 0), dict.fromkeys(run.peers, 0)

    def active(node: Node) -> Activity[None]:
        yield from pause(run.env, run.draw("gossip", node.index).random() * options.period)
        while node not in states:
            ending.look()
            yield from node.present()
            first = yield from unless_cut(node.compute(algorithm.initial))
            if first is not None:
                states[node] = first
        run.observe(0, states[node], node)
        run.env.process(passive(node))
        for period[node] in range(1, options.rounds + 1):
            yield from pause(run.env, options.period)
            if node.there:
                run.env.process(push(node, period[node]))
                run.observe(period[node], states[node], node, mixed[node])
                mixed[node] = 0
        ending.done(node)

    def push(node: Node, r: int) -> Activity[None]:
        there = [n for n in run.peers if n.there and run.overlay.has_edge(node.name, n.name)]
        if not there:
            return
        to = run.draw("gossip", node.index, r).choice(there)
        [(_, message)] = messages(run, algorithm, states[node], [to])
        payload = yield from unless_cut(node.send(to, message, round=r))
        if payload is not None:
            came[to][node] = payload
            if not wakes[to].triggered:
                wakes[to].succeed()

    def passive(node: Node) -> Activity[None]:
        turn = 1
        while True:
            yield from node.present()
            if not came[node]:
                wakes[node] = run.env.event()
                yield wakes[node]
                continue
            taken, came[node] = came[node], {}
            senders = sorted(taken, key=lambda sender: sender.index)
            received = tuple(Received(taken[n], run.participant(n)) for n in senders)
            state = yield from unless_cut(learn(node, received, Turn(node.index, turn)))
            if state is not None:
                states[node] = state
                mixed[node] += len(received)
                turn += 1

    def learn(
        node: Node, received: tuple[Received[Any], ...], turn: Turn
    ) -> Activity[Artifact[Any]]:
        r = period[node]
        state = yield from node.compute(algorithm.mix, states[node], received, round=r)
        return (yield from node.compute(algorithm.train, state, turn, round=r))

    for node in run.peers:
        run.env.process(active(node))
    yield ending.over


_: RunProtocol = gossip
