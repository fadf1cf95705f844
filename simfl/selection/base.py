"""How a cohort is chosen: among the clients that are there, by what the server knows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Protocol

from simfl.keys import seed_of
from simfl.options import Options


class SelectionOptions(Options):
    """Options that every selection has."""

    needs_losses: ClassVar[bool] = False
    """Whether it looks at `Candidate.loss`: clients then tell it with each update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the server knows of a client: counts and metrics, no value of a model.

    Attributes:
        index: the client.
        samples: that it holds.
        compute_s: of a turn with the first model on its device, by counting.
        last_round: in which it was chosen last; 0: never yet.
        duration_s: of its last turn that came to an end, from the model's sending to the update's
            arrival; None before.
        loss: root of the mean square of its samples' losses when it last began; None before, or
            where nobody asks.
    """

    index: int
    samples: int
    compute_s: float
    last_round: int
    duration_s: float | None
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The clients among whom a cohort is chosen.

    Attributes:
        clients: their indices, rising.
        size: how many are wanted, at most as many as there are.
        number: of the choice: the round, or how many choices there were.
        seed: the scenario's.
        ask: a client's index to what is known of it.
    """

    clients: Sequence[int]
    size: int
    number: int
    seed: int
    ask: Callable[[int], Candidate]

    @property
    def draw(self) -> Random:
        """For what is drawn in this choice."""
        return Random(seed_of(self.seed, "cohort", self.number))

    def candidates(self) -> list[Candidate]:
        """All that is known of all of them."""
        return [self.ask(index) for index in self.clients]


class Selection(Protocol):
    """Chooses a cohort; pure and seeded."""

    def __call__(self, options: Any, pool: Pool) -> Sequence[int]:
        """The indices of those chosen, each once, in any order."""
