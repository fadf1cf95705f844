from random import Random

import pytest

from simfl.rounds import Rounds


def over(rounds: Rounds) -> list[int]:
    return [round.number for round in rounds.over()]


def test_a_round_is_over_with_its_last_holder() -> None:
    rounds = Rounds("ab")
    rounds.reach("a", 0, 1)
    rounds.reach("a", 1, 2)
    assert over(rounds) == []
    rounds.reach("b", 0, 3)
    [first] = rounds.over()
    assert (first.number, first.updates) == (0, 4)
    rounds.reach("b", 1, 0)
    assert over(rounds) == [1]


def test_who_leaves_is_not_waited_for_and_comes_late() -> None:
    rounds = Rounds("abc")
    for holder in "ab":
        rounds.reach(holder, 0, 0)
        rounds.reach(holder, 1, 0)
    rounds.leave("c")
    assert over(rounds) == [0, 1]
    assert not rounds.reach("c", 1, 1)
    rounds.come_back("c")
    for holder in "ab":
        rounds.reach(holder, 2, 0)
    assert over(rounds) == []
    assert rounds.reach("c", 2, 0)
    assert over(rounds) == [2]
    rounds.leave("somebody else")


def test_while_nobody_is_there_nothing_ends() -> None:
    rounds = Rounds("a")
    rounds.leave("a")
    assert over(rounds) == []


def test_accuracies_settle_in_the_order_of_rounds() -> None:
    rounds = Rounds("ab")
    rounds.reach("a", 0, 0, evaluated=True)
    rounds.reach("a", 1, 0, evaluated=True)
    rounds.reach("b", 0, 0, evaluated=True)
    rounds.score(0, 0.2)
    rounds.score(1, 0.9)
    rounds.score(0, 0.4)
    assert list(rounds.settled()) == []
    assert over(rounds) == [0]
    assert list(rounds.settled()) == [pytest.approx(0.3)]
    rounds.leave("b")
    assert over(rounds) == [1]
    assert list(rounds.settled()) == [0.9]


@pytest.mark.parametrize("seed", range(20))
def test_every_round_ends_once_whoever_comes_and_goes(seed: int) -> None:
    draw, names = Random(seed), "abcd"
    rounds, reached, here = Rounds(names), dict.fromkeys(names, 0), set(names)
    ended: list[int] = []
    for _ in range(300):
        name = draw.choice(names)
        if draw.random() < 0.2:
            if name in here:
                here.remove(name)
                rounds.leave(name)
            else:
                here.add(name)
                rounds.come_back(name)
                reached[name] = max(reached.values())
        elif name in here:
            reached[name] += 1
            rounds.reach(name, reached[name], 0)
        ended += over(rounds)
    assert ended == list(range(len(ended)))
    assert len(ended) > 5
