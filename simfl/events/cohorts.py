"""Cohorts: who is there, what is known of them, and who of them takes part next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from simpy import Environment, Event

from simfl.events.activity import Activity
from simfl.events.node import Node
from simfl.memo import Artifact
from simfl.selection.base import Candidate, Pool

# faster than asking each in a loop: a choice among ten thousand is made for each turn
_INDEX: Final = attrgetter("index")


@dataclass(slots=True)
class _Seen:
    """What has been seen of a client."""

    last_round: int = 0
    compute_s: float | None = None
    duration_s: float | None = None
    loss: Artifact[Any] | None = None


class Cohorts:
    """The clients of a run, of whom some are there, and some of these are chosen.

    Args:
        env: the clock.
        clients: by their indices.
        samples: that each of them holds.
        turn_s: what a turn with the first model takes on a client's device, by counting.
        select: chooses of a pool.
        seed: of the scenario.
        asks_for_losses: whether ``select`` looks at the clients' losses.
    """

    def __init__(
        self,
        env: Environment,
        clients: Sequence[Node],
        samples: Callable[[Node], int],
        turn_s: Callable[[Node], float],
        select: Callable[[Pool], Sequence[int]],
        *,
        seed: int,
        asks_for_losses: bool,
    ) -> None:
        self.asks_for_losses = asks_for_losses
        self._env, self._clients = env, clients
        self._samples, self._turn_s = samples, turn_s
        self._select, self._seed = select, seed
        self._seen: dict[int, _Seen] = {}
        # whom they are looking for, and what they wait for: who has sought longest first
        self._seeking: list[tuple[Sequence[Node], Event]] = []

    def somebody(self, among: Sequence[Node] | None = None) -> Activity[list[Node]]:
        """The clients that are there, or some of them; waits while nobody is."""
        among = self._clients if among is None else among
        while not (there := [node for node in among if node.there]):
            returned = self._env.event()
            self._seeking.append((among, returned))
            yield returned
        return there

    def returned(self, node: Node) -> None:
        """A node is there again: whoever has sought it longest looks anew."""
        for place, (among, returned) in enumerate(self._seeking):
            if node in among:
                del self._seeking[place]
                returned.succeed()
                return

    def choose(
        self, size: int | None, number: int, among: Sequence[Node] | None = None
    ) -> Activity[list[Node]]:
        """Clients of those who are there, in their order; waits while nobody is.

        Args:
            size: how many, where there are as many; None for all.
            number: of the choice: seeds come from it.
            among: whom; None for all clients.
        """
        there = list(map(_INDEX, (yield from self.somebody(among))))
        pool = Pool(
            clients=there,
            size=min(size or len(there), len(there)),
            number=number,
            seed=self._seed,
            ask=self._candidate,
        )
        chosen = sorted(self._select(pool))
        for index in chosen:
            self._look_at(index).last_round = number
        return [self._clients[index] for index in chosen]

    def came_back(self, client: Node, duration_s: float, loss: Artifact[Any] | None) -> None:
        """A client's turn has come to its end, and so much is known of it."""
        seen = self._look_at(client.index)
        seen.duration_s, seen.loss = duration_s, loss

    def _look_at(self, index: int) -> _Seen:
        return self._seen.setdefault(index, _Seen())

    def _candidate(self, index: int) -> Candidate:
        seen, node = self._look_at(index), self._clients[index]
        if seen.compute_s is None:
            seen.compute_s = self._turn_s(node)
        metrics = seen.loss.manifest.metrics if seen.loss else {}
        return Candidate(
            index=index,
            samples=self._samples(node),
            compute_s=seen.compute_s,
            last_round=seen.last_round,
            duration_s=seen.duration_s,
            loss=metrics.get("loss"),
        )
