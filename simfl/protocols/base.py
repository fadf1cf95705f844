"""What a protocol sees of a run: who takes part, promises, and where to report a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar, Protocol

import networkx as nx
from simpy import Environment

from simfl.algorithms.base import AnyAlgorithm
from simfl.events.activity import Activity
from simfl.events.cohorts import Cohorts
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Options
from simfl.work import Participant


class ProtocolOptions(Options):
    """Options that every protocol has."""

    needs_server: ClassVar[bool] = True
    """Whether it is for a server and clients; else it is for peers alone."""
    needs_aggregators: ClassVar[bool] = False
    """Whether nodes that aggregate are between the server and the clients."""


class Run(Protocol):
    """One run of one scenario: a server with clients, or peers."""

    env: Environment
    clients: list[Node]
    peers: list[Node]
    aggregators: list[Node]
    cohorts: Cohorts
    overlay: nx.Graph[str]

    @property
    def server(self) -> Node:
        """The server; not to be asked for among peers."""

    def promise(self, verb: Callable[..., Any], *args: Any) -> Artifact[Any]:
        """The artifact of a verb that takes no time of its own."""

    def draw(self, *coordinates: str | int) -> Random:
        """What is drawn at these logical coordinates."""

    def participant(self, node: Node) -> Participant:
        """A client or peer in logical coordinates; the server has index -1 and no samples.

        One who aggregates has an index below, and the samples of the clients beside it.
        """

    def state_of(self, node: Node) -> Artifact[Any] | None:
        """What a client held after its last turn; None for algorithms that do not look."""

    def keep_state(self, node: Node, state: Artifact[Any]) -> None:
        """What a client holds now."""

    def observe(
        self, round: int, state: Artifact[Any], node: Node | None = None, updates: int = 0
    ) -> None:
        """A state after a round, the server's or that peer's: evaluated and saved when due.

        May end the run; among peers, once the last of those there has ended the round.

        Args:
            round: its number, 0 before the first; each holder's rise by one, or more after it was
                away.
            state: the holder's.
            node: a peer; None for the server.
            updates: how many messages went into it in this round.
        """


class RunProtocol(Protocol):
    """A protocol: a process that says who does what after what."""

    def __call__(self, run: Run, algorithm: AnyAlgorithm, options: Any) -> Activity[None]:
        """The process; ends after its last round.

        Raises:
            ProtocolError: it cannot run on this overlay.
        """


class Ending:
    """Peers are done once each of them that is there has ended its part, and one has at least.

    Args:
        run: of peers.
    """

    def __init__(self, run: Run) -> None:
        self.over = run.env.event()
        self._peers = run.peers
        self._done: set[Node] = set()

    def done(self, node: Node) -> None:
        """A peer has ended its part."""
        self._done.add(node)
        self.look()

    def look(self) -> None:
        """To be called whenever a peer has left."""
        waited_for = (node for node in self._peers if node.there and node not in self._done)
        if self._done and not self.over.triggered and next(waited_for, None) is None:
            self.over.succeed()


def messages(
    run: Run, algorithm: AnyAlgorithm, state: Artifact[Any], to: Sequence[Node]
) -> list[tuple[Node, Artifact[Any]]]:
    """What each node is sent of a state: one promise for all, unless the algorithm addresses."""
    if algorithm.addresses:
        return [(node, run.promise(algorithm.share, state, run.participant(node))) for node in to]
    message = run.promise(algorithm.share, state)
    return [(node, message) for node in to]


__all__ = ["Ending", "ProtocolOptions", "Received", "Run", "RunProtocol", "messages"]
