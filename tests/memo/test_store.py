import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from simfl.errors import ReplayMiss
from simfl.keys import Key
from simfl.memo import Promise, Recipe, Store
from simfl.work import Manifest


def start(value: int) -> torch.Tensor:
    return torch.tensor([float(value)])


def grow(*tensors: torch.Tensor) -> torch.Tensor:
    return sum(tensors, torch.ones(1))


def count(value: torch.Tensor) -> Manifest:
    return Manifest(metrics={"value": float(value)})


def promise(store: Store, verb: Callable[..., Any], *args: Any) -> Promise[torch.Tensor]:
    return store.promise(Recipe(verb, f"{verb.__name__} v1", args))


def chain(store: Store, length: int, first: int = 0) -> Promise[torch.Tensor]:
    state = promise(store, start, first)
    for _ in range(length):
        state = promise(store, grow, state)
    return state


def manifests_of(length: int, first: int = 0) -> dict[Key, Manifest]:
    """What a trace records of a chain: every link's manifest."""
    store, links = Store(count), {}
    state = promise(store, start, first)
    for link in range(length + 1):
        state = promise(store, grow, state) if link else state
        links[state.key] = state.manifest
    return links


def test_one_recipe_is_computed_once() -> None:
    store = Store(count)
    first = promise(store, start, 3)
    again = promise(store, start, 3)
    assert again is first
    assert first.value is again.value
    both = promise(store, grow, first, again)
    assert both.value == 7
    assert both.manifest.metrics == {"value": 7.0}
    assert store.computed == {"start": 1, "grow": 1}


def test_what_nobody_asks_for_is_not_computed() -> None:
    store = Store(count)
    other = promise(store, start, 1)
    last = chain(store, 3)
    assert last.manifest.metrics["value"] == 3
    assert store.computed == {"start": 1, "grow": 3}
    assert not other.in_memory


def test_a_shared_ancestor_is_computed_once() -> None:
    store = Store(count)
    root = chain(store, 2)
    left, right = promise(store, grow, root), promise(store, grow, root, root)
    assert promise(store, grow, left, right).value == 1 + 3 + 5
    assert store.computed == {"start": 1, "grow": 5}


def test_dropped_artifacts_free_their_tensors() -> None:
    store = Store(count)
    one = promise(store, start, 1)
    two = promise(store, grow, one)
    values = [weakref.ref(artifact.value) for artifact in (one, two)]
    assert all(value() is not None for value in values)
    del one
    gc.collect()
    assert values[0]() is None
    assert values[1]() is not None
    del two
    gc.collect()
    assert values[1]() is None
    # asked for once more, they are computed once more
    assert promise(store, grow, promise(store, start, 1)).value == 2
    assert store.computed == {"start": 2, "grow": 2}


def test_values_on_the_way_are_not_kept() -> None:
    store = Store(count)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def step(value: torch.Tensor) -> torch.Tensor:
        nonlocal most
        out = value + 1
        alive.add(out)
        most = max(most, len(alive))
        return out

    state = promise(store, start, 0)
    for _ in range(50):
        state = promise(store, step, state)
    assert state.value == 50
    gc.collect()
    assert len(alive) == 1


def test_a_deep_chain_does_not_recurse() -> None:
    store = Store(count, manifests_of(5000))
    never_asked, last = chain(store, 5000), chain(store, 4999)
    assert store.computed == {}
    assert last.value == 4999
    assert store.computed == {"start": 1, "grow": 4999}
    del never_asked
    gc.collect()


def test_a_recorded_manifest_needs_no_computing() -> None:
    again = Store(count, manifests_of(4))
    replayed = chain(again, 4)
    assert replayed.manifest == Manifest(metrics={"value": 4.0})
    assert again.computed == {}
    # the value is another matter
    assert replayed.value == 4
    assert again.computed == {"start": 1, "grow": 4}


def test_a_frozen_store_computes_nothing() -> None:
    store = Store(count, manifests_of(4), frozen=True)
    assert chain(store, 4).manifest.metrics == {"value": 4.0}
    with pytest.raises(
        ReplayMiss, match=r"^grow \([0-9a-f]{32}\) is not recorded .* allow training"
    ):
        _ = chain(store, 5).manifest
    with pytest.raises(ReplayMiss, match=r"^(start|grow) "):
        _ = chain(store, 4).value
    assert store.computed == {}


def test_a_verb_that_fails_leaves_the_store_usable() -> None:
    store, fails = Store(count), [True]

    def flaky(value: torch.Tensor) -> torch.Tensor:
        if fails:
            raise RuntimeError("no")
        return value

    state = promise(store, flaky, promise(store, start, 1))
    with pytest.raises(RuntimeError, match="no"):
        _ = state.value
    fails.clear()
    assert state.value == 1
