"""What a protocol sees of a run: who takes part, promises, and where to report a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import networkx as nx
from simpy import Environment

from simfl.algorithms.base import AnyAlgorithm
from simfl.events.activity import Activity
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Options
from simfl.work import Participant


class ProtocolOptions(Options):
    """Options that every protocol has."""

    needs_server: ClassVar[bool] = True
    """Whether it is for a server and clients; else it is for peers alone."""


class Run(Protocol):
    """One run of one scenario: a server with clients, or peers."""

    env: Environment
    clients: list[Node]
    peers: list[Node]
    overlay: nx.Graph[str]

    @property
    def server(self) -> Node:
        """The server; not to be asked for among peers."""

    def promise(self, verb: Callable[..., Any], *args: Any) -> Artifact[Any]:
        """The artifact of a verb that takes no time of its own."""

    def sample(self, size: int | None, round: int) -> list[Node]:
        """The cohort of a round: seeded, in the order of the clients; all where size is None."""

    def participant(self, node: Node) -> Participant:
        """A client or peer in logical coordinates; the server has index -1 and no samples."""

    def state_of(self, node: Node) -> Artifact[Any] | None:
        """What a client held after its last turn; None for algorithms that do not look."""

    def keep_state(self, node: Node, state: Artifact[Any]) -> None:
        """What a client holds now."""

    def observe(self, round: int, state: Artifact[Any], node: Node | None = None) -> None:
        """A state after a round, the server's or that peer's: evaluated and saved when due.

        May end the run; among peers, once the last of them has ended the round.
        """


class RunProtocol(Protocol):
    """A protocol: a process that says who does what after what."""

    def __call__(self, run: Run, algorithm: AnyAlgorithm, options: Any) -> Activity[None]:
        """The process; ends after its last round.

        Raises:
            ProtocolError: it cannot run on this overlay.
        """


def messages(
    run: Run, algorithm: AnyAlgorithm, state: Artifact[Any], to: Sequence[Node]
) -> list[Artifact[Any]]:
    """What some nodes are sent of a state: one promise for all, unless the algorithm addresses."""
    if algorithm.addresses:
        return [run.promise(algorithm.share, state, run.participant(node)) for node in to]
    return [run.promise(algorithm.share, state)] * len(to)


__all__ = ["ProtocolOptions", "Received", "Run", "RunProtocol", "messages"]
