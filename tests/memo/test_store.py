import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from simfl.errors import ReplayMiss
from simfl.keys import Key, key_of
from simfl.memo import Disk, Promise, Recipe, Store
from simfl.work import Manifest

FAMILY = key_of("tests")


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
    said = r"^grow \([0-9a-f]{32}\) is not recorded and the store is frozen; allow training"
    with pytest.raises(ReplayMiss, match=said):
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


def train(value: torch.Tensor, client: int) -> torch.Tensor:
    return value + client


class Watched:
    """An executor that runs in line, and says in which order it was called."""

    name = "watched"

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def start(self, verb: Callable[..., Any], args: tuple[Any, ...]) -> "WatchedJob":
        self.events.append(("start", args[-1]))
        return WatchedJob(self.events, verb, args)

    def close(self) -> None:
        """Nothing to let go."""


class WatchedJob:
    def __init__(
        self, events: list[tuple[str, int]], verb: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._events, self._verb, self._args = events, verb, args

    def result(self) -> Any:
        self._events.append(("join", self._args[-1]))
        return self._verb(*self._args)


def turn(store: Store, state: Promise[Any], client: int) -> Promise[torch.Tensor]:
    return store.promise(Recipe(train, "train v1", (state, client), heavy=True))


def test_the_heavy_begins_at_its_start_and_is_joined_at_its_manifest() -> None:
    watched = Watched()
    store = Store(count, executor=watched)
    state = promise(store, start, 5)
    turns = [turn(store, state, client) for client in (1, 2)]
    assert watched.events == []
    for one in turns:
        store.start(one)
        store.start(one)
    assert watched.events == [("start", 1), ("start", 2)]
    assert [one.manifest.metrics["value"] for one in reversed(turns)] == [7.0, 6.0]
    assert watched.events[2:] == [("join", 2), ("join", 1)]
    assert store.computed == {"start": 1, "train": 2}


def test_what_is_light_or_recorded_is_not_begun() -> None:
    recorded = {turn(Store(count), promise(Store(count), start, 5), 1).key: Manifest()}
    watched = Watched()
    store = Store(count, recorded, executor=watched)
    state = promise(store, start, 5)
    light, known = promise(store, grow, state), turn(store, state, 1)
    store.start(light)
    store.start(known)
    assert known.manifest == Manifest()
    assert watched.events == []
    assert store.computed == {}
    assert store.found == {"train": 1}


def test_a_generation_is_begun_as_a_whole_before_any_of_it_is_joined() -> None:
    watched = Watched()
    store = Store(count, executor=watched)
    state = promise(store, start, 0)
    for generation in (10, 20):
        turns = [turn(store, state, generation + client) for client in range(3)]
        state = promise(store, grow, *turns)
    assert state.value == 3 * (3 * 0 + 33 + 1) + 63 + 1
    expected = [
        [(what, generation + client) for client in range(3)]
        for generation in (10, 20)
        for what in ("start", "join")
    ]
    seen = [sorted(watched.events[i : i + 3]) for i in range(0, 12, 3)]
    assert seen == expected
    assert len(watched.events) == 12


def test_a_heavy_chain_of_5000_neither_recurses_nor_begins_what_cannot_run_yet() -> None:
    watched = Watched()
    store = Store(count, executor=watched)
    state = promise(store, start, 0)
    for number in range(5000):
        state = turn(store, state, number % 2)
    assert state.value == 2500
    assert [what for what, _ in watched.events] == ["start", "join"] * 5000


def saved(folder: Path, *lengths: int) -> list[Key]:
    """Keys of chains of those lengths whose last value was kept by a run that has ended."""
    disk = Disk(folder, FAMILY)
    store = Store(count, disk=disk)
    keys = []
    for length in lengths:
        state = chain(store, length)
        assert state.value == length
        store.save(state)
        keys.append(state.key)
    disk.close()
    return keys


def test_what_was_kept_saves_computing_what_led_to_it(tmp_path: Path) -> None:
    saved(tmp_path, 100, 60)
    disk = Disk(tmp_path, FAMILY)
    store = Store(count, manifests_of(103), disk)
    state = chain(store, 103)
    assert state.value == 103
    # from the nearest that was kept, not from the one before it
    assert store.computed == {"grow": 3}
    assert promise(store, grow, chain(store, 60)).value == 61
    assert store.computed == {"grow": 3 + 1}
    disk.close()


def test_a_value_that_is_not_at_hand_is_not_computed_to_be_kept(tmp_path: Path) -> None:
    disk = Disk(tmp_path, FAMILY)
    store = Store(count, manifests_of(3), disk)
    store.save(chain(store, 3))
    assert store.computed == {}
    assert disk.info().values == 0
    disk.close()


def test_counts_come_to_disk_when_a_state_is_saved_or_at_the_end(tmp_path: Path) -> None:
    disk, other = Disk(tmp_path, FAMILY), Disk(tmp_path, FAMILY)
    store = Store(count, disk=disk)
    first, second = chain(store, 1), chain(store, 2)
    assert first.manifest.metrics == {"value": 1.0}
    assert other.manifests() == {}
    store.save(first)
    assert other.manifests() == {first.key: first.manifest}
    assert second.manifest.metrics == {"value": 2.0}
    store.flush()
    assert other.manifests() == {p.key: p.manifest for p in (first, second)}
    # what another run recorded is found, by verb
    later = Store(count, other.manifests())
    assert chain(later, 1).manifest == first.manifest
    assert (later.computed, later.found) == ({}, {"grow": 1})
    disk.close()
    other.close()


def test_values_may_be_evicted_at_any_time(tmp_path: Path) -> None:
    saved(tmp_path, 3, 6)
    disk, other = Disk(tmp_path, FAMILY), Disk(tmp_path, FAMILY)
    store = Store(count, manifests_of(9), disk)
    near, far = chain(store, 4), chain(store, 7)
    assert near.value == 4
    assert store.computed == {"grow": 1}
    # between two computations, another process makes room
    other.evict(0)
    assert far.value == 7
    assert store.computed == {"grow": 1 + 3}
    del near, far
    gc.collect()
    assert chain(store, 9).value == 9
    assert store.computed == {"start": 1, "grow": 1 + 3 + 9}
    disk.close()
    other.close()
