"""A plan: a run in which nothing is learnt, only counted; and the tape of what happened in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simfl.events.observer import Sent, Span
from simfl.keys import Key
from simfl.memo import Received, Recipe, counted
from simfl.work import Manifest


class Tape:
    """An observer that keeps what happened."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.transfers: list[Sent] = []
        self.guessed = False
        """Whether some counts are not known by counting: what is pruned in the round is not."""

    @property
    def initial(self) -> Span:
        """What the server, or the last of the peers, did before the first round."""
        first = (span for span in self.spans if span.verb == "initial" and not span.cut)
        return max(first, key=lambda span: span.end_s)

    @property
    def slowest(self) -> Span | None:
        """The longest training of a client or peer; None where nobody has trained."""
        training = (span for span in self.spans if span.verb == "train" and not span.cut)
        return max(training, key=lambda span: span.end_s - span.start_s, default=None)

    @property
    def computation_s(self) -> float:
        """Seconds that the slowest client or peer trained."""
        slowest = self.slowest
        return slowest.end_s - slowest.start_s if slowest else 0.0

    @property
    def communication_s(self) -> float:
        """The rest of the round: network, waiting, aggregating or mixing."""
        end_s = max(span.end_s for span in self.spans)
        return end_s - self.initial.end_s - self.computation_s

    def computed(self, span: Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def left(self, node: str, why: str) -> None:
        """Not kept."""

    def returned(self, node: str) -> None:
        """Not kept."""

    def sent(self, sent: Sent) -> None:
        """Keep it."""
        self.transfers.append(sent)


class Forecast:
    """An artifact without a value: its counts are those of what it is made from.

    Args:
        verb: of an algorithm.
        args: what it would be given.
        first: the counts of what is made from nothing.
        rule: that of the algorithm for the counts of the verb's result, if there is one.
    """

    def __init__(
        self,
        verb: Callable[..., Any],
        args: tuple[Any, ...],
        first: Callable[[], Manifest],
        rule: Callable[..., Manifest | None] | None = None,
    ) -> None:
        recipe = Recipe(verb, verb.__name__, args, counts=rule)
        self.key: Key = recipe.key
        foretold = recipe.forecast()
        self.guessed = rule is not None and foretold is None
        """Whether only computing would tell its counts: they are then those it is made from."""
        self._manifest = foretold or _counts_of_the_first(args) or first()

    @property
    def manifest(self) -> Manifest:
        """Its counts."""
        return self._manifest

    @property
    def value(self) -> Any:
        """There is none: a plan never looks."""
        raise AssertionError("a forecast has no value")


def _counts_of_the_first(args: tuple[Any, ...]) -> Manifest | None:
    """Those of the first state or payload among a verb's arguments."""
    found = (c.payload if isinstance(c, Received) else c for c in map(counted, args))
    return next((c for c in found if isinstance(c, Manifest)), None)
