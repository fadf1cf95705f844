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
    """

    start_s: float
    end_s: float
    node: str
    verb: str
    round: int
    key: Key
    manifest: Manifest


class Sent(NamedTuple):
    """A payload arrived; ``nbytes`` is the size of its message."""

    start_s: float
    end_s: float
    source: str
    target: str
    round: int
    key: Key
    manifest: Manifest
    nbytes: int


class Observer(Protocol):
    """Receives every activity and transfer as it ends."""

    def computed(self, span: Span) -> None:
        """A node finished computing."""

    def sent(self, sent: Sent) -> None:
        """A transfer ended."""
