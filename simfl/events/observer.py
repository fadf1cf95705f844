"""What the event loop tells whoever records it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simfl.keys import Key
from simfl.work import Manifest


class Span(NamedTuple):
    """A node computed something.

    Attributes:
        verb: which of the algorithm's verbs.
        round: the round it belongs to; 0 before the first.
        key: of the result.
        manifest: None where it was cut: there is no result.
    """

    start_s: float
    end_s: float
    node: str
    verb: str
    round: int
    key: Key
    manifest: Manifest | None

    @property
    def cut(self) -> bool:
        """Whether it came to no end."""
        return self.manifest is None


class Sent(NamedTuple):
    """A payload arrived, or was given up.

    Attributes:
        nbytes: of its message; of one that was cut, those that had left.
        cut: whether it never arrived.
    """

    start_s: float
    end_s: float
    source: str
    target: str
    round: int
    key: Key
    manifest: Manifest
    nbytes: int
    cut: bool = False


class Observer(Protocol):
    """Receives every activity and transfer as it ends."""

    def computed(self, span: Span) -> None:
        """A node finished computing, or was cut."""

    def sent(self, sent: Sent) -> None:
        """A transfer ended, or was cut."""

    def left(self, node: str, why: str) -> None:
        """A node is away from now on."""

    def returned(self, node: str) -> None:
        """A node is there again."""
