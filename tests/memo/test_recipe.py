from typing import Any

import pytest

from simfl.memo import Received, Recipe, Store
from simfl.work import Manifest, Participant, Turn


def train(*args: Any) -> Any:
    return args


def store() -> Store:
    return Store(lambda value: Manifest(metrics={"value": float(len(value))}))


NAME = "train of this algorithm"
TURN = Turn(1, 2)


def test_a_key_is_known_before_anything_is_computed() -> None:
    kept = store()
    key = Recipe(train, NAME, (1, TURN)).key
    assert kept.promise(Recipe(train, NAME, (1, Turn(1, 2)))).key == key
    assert kept.computed == {}


@pytest.mark.parametrize(
    "other",
    [
        Recipe(train, NAME + "!", (1, TURN)),
        Recipe(train, NAME, (1, Turn(2, 2))),
        Recipe(train, NAME, (1, Turn(1, 3))),
        Recipe(train, NAME, (2, TURN)),
        Recipe(train, NAME, ("1", TURN)),
        Recipe(train, NAME, (TURN, 1)),
        Recipe(train, NAME, (1,)),
        Recipe(train, NAME, ((1, TURN),)),
        Recipe(train, NAME, (1, None, TURN)),
    ],
)
def test_whatever_differs_is_in_the_key(other: Recipe[Any]) -> None:
    assert other.key != Recipe(train, NAME, (1, TURN)).key


def test_artifacts_enter_by_key_in_their_order_and_by_sender() -> None:
    kept = store()
    one, two = (kept.promise(Recipe(train, NAME, (i,))) for i in (1, 2))
    ann, ben = Participant(index=0, samples=5), Participant(index=1, samples=7)

    def key(*received: Received[Any]) -> str:
        return Recipe(train, NAME, (received,)).key

    base = key(Received(one, ann), Received(two, ben))
    assert key(Received(one, ann), Received(two, ben)) == base
    assert key(Received(two, ben), Received(one, ann)) != base
    assert key(Received(two, ann), Received(one, ben)) != base
    assert key(Received(one, ann)) != base


def test_inputs_and_values_are_found_however_deep() -> None:
    kept = store()
    one, two = (kept.promise(Recipe(train, NAME, (i,))) for i in (1, 2))
    ann = Participant(index=0, samples=5)
    recipe = Recipe(train, NAME, (one, (Received(two, ann), (one,)), 9))
    assert recipe.inputs() == [one, two, one]
    assert recipe.run() == ((1,), (Received((2,), ann), ((1,),)), 9)
