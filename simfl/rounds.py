"""Which rounds are over, where each holder of a model ends them in his own time and may go away."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Round:
    """A round under way, or one whose accuracies are still awaited.

    Attributes:
        updates: messages that went into its models.
        evaluated: how many models of it are evaluated.
        accuracies: of those, found by now.
    """

    number: int
    updates: int = 0
    evaluated: int = 0
    accuracies: list[float] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """The mean."""
        return sum(self.accuracies) / len(self.accuracies)


class Rounds:
    """A round is over once every holder who is there has ended it.

    Args:
        holders: who has a model of his own: the server, or the peers.

    >>> rounds = Rounds(["a", "b"])
    >>> rounds.reach("a", 0, 1), [r.number for r in rounds.over()]
    (True, [])
    >>> rounds.leave("b"), [r.number for r in rounds.over()]
    (None, [0])
    """

    def __init__(self, holders: Iterable[str]) -> None:
        self._reached = dict.fromkeys(holders, -1)
        self._away: set[str] = set()
        self._under_way: dict[int, Round] = {}
        self._next = 0
        self._awaited: deque[Round] = deque()

    def __len__(self) -> int:
        """How many holders there are."""
        return len(self._reached)

    def reach(self, holder: str, number: int, updates: int, *, evaluated: bool = False) -> bool:
        """A holder has ended a round; whether it was not over without him."""
        self._reached[holder] = max(number, self._reached[holder])
        if number < self._next:
            return False
        round = self._under_way.setdefault(number, Round(number))
        round.updates += updates
        round.evaluated += evaluated
        return True

    def leave(self, holder: str) -> None:
        """A holder is not waited for any more; others than holders may leave too."""
        if holder in self._reached:
            self._away.add(holder)

    def come_back(self, holder: str) -> None:
        """A holder is there again."""
        self._away.discard(holder)

    def over(self) -> Iterator[Round]:
        """Rounds that are over by now, each once, in their order."""
        while len(self._away) < len(self._reached):
            here = (last for holder, last in self._reached.items() if holder not in self._away)
            if min(here) < self._next:
                return
            round = self._under_way.pop(self._next, Round(self._next))
            self._next += 1
            if round.evaluated:
                self._awaited.append(round)
            yield round

    def score(self, number: int, accuracy: float) -> None:
        """A model of a round was evaluated."""
        rounds = (*self._awaited, *self._under_way.values())
        next(round for round in rounds if round.number == number).accuracies.append(accuracy)

    def settled(self) -> Iterator[float]:
        """Mean accuracies of rounds that are over and evaluated, each once, in their order."""
        while self._awaited and len(self._awaited[0].accuracies) == self._awaited[0].evaluated:
            yield self._awaited.popleft().accuracy
