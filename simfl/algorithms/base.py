"""What an algorithm is: pure verbs on states. No clock, no network, no global random stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from simfl.learning.problem import Problem
from simfl.learning.state import Loss, ModelState, Payload, Received, Score, Turn
from simfl.work import Manifest, Participant, Workload

S = TypeVar("S")

WorkRule = Callable[..., Workload]
"""(algorithm, *arguments) -> Workload: of a state or payload it is given the manifest."""

CountRule = Callable[..., Manifest | None]
"""(algorithm, *arguments) -> Manifest, from the manifests of states and payloads; None where only
computing tells. What is told is compared with the value once that is there."""


def unforetold(_algorithm: Any, *_arguments: Any) -> None:
    """The rule for counts that only computing tells: what is pruned by value, or in some rounds."""


class Algorithm(Protocol[S]):
    """The verbs; FedAvg's are the defaults."""

    keeps_client_state: ClassVar[bool]
    """Whether `adopt` looks at what the client held before."""
    addresses: ClassVar[bool]
    """Whether what is shared of a state depends on who it is for; `share` is then told."""
    work: ClassVar[Mapping[str, WorkRule]]
    """What each verb asks of a device; a verb that is not named takes no time."""
    counts: ClassVar[Mapping[str, CountRule]]
    """The manifest of each verb's result, where it follows from those of the arguments."""
    heavy: ClassVar[frozenset[str]]
    """Verbs worth an executor."""

    @property
    def problem(self) -> Problem:
        """What is learnt: the scenario's, or with another network in the place of its model."""

    @property
    def relays(self) -> bool:
        """Whether what a server shares can be an update to another: an aggregator's, going up."""

    @property
    def name(self) -> str:
        """Everything its results depend on but the verbs' arguments, for keys."""

    def initial(self) -> S:
        """The first state of the server, or of every peer."""

    def train(self, state: S, turn: Turn) -> S:
        """One local update."""

    def share(self, state: S, to: Participant | None = None) -> Payload:
        """What is sent of a state: down, up or to a neighbour.

        Args:
            state: the server's, a client's or a peer's.
            to: a client or neighbour; told where the algorithm `addresses`, and never of what goes
                up: there is one server.
        """

    def adopt(self, state: S | None, received: Received[Payload]) -> S:
        """A client takes the server's model."""

    def aggregate(self, state: S, received: tuple[Received[Payload], ...]) -> S:
        """The server's next state, from updates in the order of the clients."""

    def rebase(self, now: Payload, update: Payload, base: Payload, weight: float) -> Payload:
        """What an update, made from an older model, is worth to the present one.

        Args:
            now: what its client would be sent now.
            update: what it has sent.
            base: what it was sent; all three in the same shapes.
            weight: of the difference.
        """

    def loss(self, state: S, turn: Turn) -> Loss:
        """How much a model that arrived has to learn from the client's samples."""

    def mix(self, state: S, received: tuple[Received[Payload], ...]) -> S:
        """A peer's next state, from its own and its neighbours', in the order of the peers."""

    def model(self, state: S) -> ModelState:
        """What is evaluated and deployed."""

    def score(self, state: S) -> Score:
        """The model's accuracy and loss on the test set."""

    def forecast(self) -> Manifest:
        """The manifest of the first state, by counting: nothing is trained."""

    def holds_from(self, fits: Callable[[Workload], bool]) -> str:
        """For a device that cannot train the first state: what it can, in words ('' if nothing)."""


AnyAlgorithm = Algorithm[Any]
