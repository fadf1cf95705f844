from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from test_node import Room

from simfl.events.activity import Activity
from simfl.events.cohorts import Cohorts
from simfl.events.node import Node
from simfl.selection.base import Pool

pools: list[Pool] = []


def slowest(pool: Pool) -> list[int]:
    """A selection that looks at all that is known."""
    pools.append(pool)
    known = {c.index: c for c in pool.candidates()}
    return sorted(known, key=lambda index: -known[index].compute_s)[: pool.size]


class Hall(Room):
    """Clients c0, c1, ... of whom some are there."""

    def __init__(self, clients: int) -> None:
        super().__init__(*(f"c{i}" for i in range(clients)))
        self.clients = list(self.nodes.values())
        self.asked: list[str] = []
        self.cohorts = Cohorts(
            self.env,
            self.clients,
            samples=lambda node: 100 + node.index,
            turn_s=self.turn_s,
            select=slowest,
            seed=1,
            asks_for_losses=True,
        )

    def turn_s(self, node: Node) -> float:
        self.asked.append(node.name)
        return float(node.index % 3)

    def away(self, node: Node, from_s: float, to_s: float) -> None:
        def spell() -> Activity[None]:
            yield self.env.timeout(from_s)
            node.leave()
            yield self.env.timeout(to_s - from_s)
            node.come_back()
            self.cohorts.returned(node)

        self.env.process(spell())

    def seek(self, among: Sequence[Node] | None = None) -> Activity[tuple[float, list[str]]]:
        yield self.env.timeout(1)
        found = yield from self.cohorts.somebody(among)
        return self.env.now, [node.name for node in found]


def names(nodes: list[Node]) -> list[str]:
    return [node.name for node in nodes]


def test_a_cohort_is_of_those_who_are_there_and_in_their_order() -> None:
    hall = Hall(6)
    hall.clients[5].leave()
    assert names(hall.run(hall.cohorts.choose(2, 1))[0]) == ["c1", "c2"]
    assert names(hall.run(hall.cohorts.choose(None, 2))[0]) == ["c0", "c1", "c2", "c3", "c4"]
    few = hall.clients[3:]
    assert names(hall.run(hall.cohorts.choose(9, 3, few))[0]) == ["c3", "c4"]


def test_a_turn_is_counted_once_and_what_was_seen_is_told() -> None:
    pools.clear()
    hall = Hall(3)
    hall.run(hall.cohorts.choose(1, 1))
    loss: Any = SimpleNamespace(manifest=SimpleNamespace(metrics={"loss": 0.25}))
    hall.cohorts.came_back(hall.clients[2], 7.5, loss)
    hall.run(hall.cohorts.choose(1, 4))
    assert hall.asked == ["c0", "c1", "c2"]
    first, _, last = pools[-1].candidates()
    assert (first.samples, first.last_round, first.duration_s, first.loss) == (100, 0, None, None)
    assert (last.samples, last.last_round, last.duration_s, last.loss) == (102, 4, 7.5, 0.25)


def test_who_seeks_waits_until_somebody_is_there() -> None:
    hall = Hall(2)
    hall.away(hall.clients[0], 0, 5)
    hall.away(hall.clients[1], 0, 9)
    assert hall.run(hall.seek()) == [(5, ["c0"])]


def test_whoever_sought_longest_is_told_first() -> None:
    hall = Hall(1)
    hall.away(hall.clients[0], 0, 5)
    order: list[str] = []

    def seek(name: str, at_s: float) -> Activity[None]:
        yield hall.env.timeout(at_s)
        yield from hall.cohorts.somebody()
        order.append(name)
        hall.cohorts.returned(hall.clients[0])

    hall.run(seek("second", 3), seek("first", 2))
    assert order == ["first", "second"]


@pytest.mark.parametrize("back", [0, 1])
def test_who_seeks_another_does_not_swallow_the_news(back: int) -> None:
    hall = Hall(2)
    one, other = hall.clients[back], hall.clients[1 - back]
    hall.away(one, 0, 5)
    hall.away(other, 0, 50)
    found = hall.run(hall.seek([other]), hall.seek([one]))
    assert found == [(50, [other.name]), (5, [one.name])]
