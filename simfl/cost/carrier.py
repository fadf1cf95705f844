"""What carries messages: the one thing that the event loop asks of wires and transport."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Protocol

from simfl.cost.framing import UNFRAMED, Framing
from simfl.cost.transport import Transport
from simfl.cost.wires import Link, Path, Wires, offered_by
from simfl.errors import NetworkError
from simfl.keys import seed_of


@dataclass(frozen=True, slots=True)
class LinkUse:
    """What has crossed one link.

    Attributes:
        unit: of the amounts: ``bit`` on the wire; in a cell ``s``, seconds of air.
        asked: by all messages so far; the sum of the next three.
        carried: through the link by now.
        cut: of messages that were given up, what had not crossed.
        waiting: still to cross.
        used: what it carried with what came back (acknowledgements) on other messages' behalf.
        busy: ``used`` as a share of all that it could have carried until now.
    """

    name: str
    unit: str
    asked: float
    carried: float
    cut: float
    waiting: float
    used: float
    busy: float


def uses_of(
    links: Sequence[Link],
    *,
    asked: Sequence[float],
    carried: Sequence[float],
    cut: Sequence[float],
    waiting: Sequence[float],
    used: Sequence[float],
    now_s: float,
) -> list[LinkUse]:
    """Of each link that was ever used and that limits; amounts by the index of the link."""
    return [
        LinkUse(
            name=link.name,
            unit="s" if link.cell else "bit",
            asked=asked[index],
            carried=carried[index],
            cut=cut[index],
            waiting=waiting[index],
            used=used[index],
            busy=used[index] / offered if offered else 0.0,
        )
        for index, link in enumerate(links)
        if (asked[index] or used[index]) and (offered := offered_by(link, now_s)) < inf
    ]


class Carrier(Protocol):
    """Messages in progress over wires; times are absolute seconds that never fall."""

    def delay_s(self, source: str, target: str, nbytes: int) -> float:
        """Time before anything is held: what the framing and the way take beforehand.

        Raises:
            NetworkError: no route.
        """

    def start(self, now_s: float, source: str, target: str, nbytes: int) -> int | None:
        """Begin to hold links; None where there is nothing to hold: the message is there."""

    def cut(self, now_s: float, flow: int) -> float:
        """Give up a message; its share goes back. Gives how much of it had not left, in [0, 1]."""

    def next_s(self) -> float:
        """When `ended` must be asked, if nothing else happens; inf: never."""

    def ended(self, now_s: float) -> Sequence[int]:
        """Messages that are there by now; each is told once."""

    def loads(self, now_s: float) -> Iterator[tuple[str, float, float]]:
        """Of each link in use: its name, its load and its capacity now."""

    def uses(self, now_s: float) -> list[LinkUse]:
        """Of each link that was ever used and that limits, in the order of the wires."""

    def __len__(self) -> int:
        """How many messages are in progress."""


class Ways:
    """Paths, framed sizes and jitter: what every carrier needs to know of a message.

    The n-th message from one place to another is the same message whenever it is sent, so what is
    drawn for it does not depend on the order of events.
    """

    def __init__(
        self, wires: Wires, transport: Transport, framing: Framing = UNFRAMED, *, seed: int = 0
    ) -> None:
        self.links = wires.links
        self.transport = transport
        self.framing = framing
        self._wires = wires
        self._seed = seed
        self._drawn: dict[tuple[str, str, str], int] = {}

    def path(self, source: str, target: str) -> Path:
        """The hops of a message.

        Raises:
            NetworkError: no route.
        """
        path = self._wires.path(source, target)
        if path is None:
            raise NetworkError(
                f"no route from '{source}' to '{target}'; the network does not join them"
            )
        return path

    def key(self, source: str, target: str) -> int:
        """Names the next message that begins between two places."""
        return self._next("message", source, target)

    def jitter_s(self, source: str, target: str, path: Path) -> float:
        """The extra delay of the next message: half-normal, by each link's deviation (assumed)."""
        deviations_s = [self.links[hop.link].jitter_s for hop in path.out]
        if not any(deviations_s):
            return 0.0
        draw = Random(self._next("jitter", source, target))
        return sum(abs(draw.gauss(0.0, deviation_s)) for deviation_s in deviations_s)

    def _next(self, purpose: str, source: str, target: str) -> int:
        """A seed for what is drawn next: message by message, whoever else sends."""
        count = self._drawn.get((purpose, source, target), 0)
        self._drawn[purpose, source, target] = count + 1
        return seed_of(self._seed, purpose, source, target, count)
