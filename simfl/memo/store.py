"""The memo store: manifests for ever, tensors while somebody holds their artifact.

What was recorded is never computed again for its counts. Where a value is wanted that nobody holds,
it comes from disk, or is computed from the nearest ancestors that are at hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from simfl.errors import ReplayMiss
from simfl.keys import Key
from simfl.memo.disk import Disk
from simfl.memo.executor import Executor, Inline, Job
from simfl.memo.recipe import Recipe
from simfl.memo.shared import Shared
from simfl.work import Manifest

T = TypeVar("T")
_ABSENT: Any = object()


class Store:
    """Promises by key.

    Args:
        count: the manifest of a value.
        recorded: manifests known from an earlier run; they need no computing.
        disk: keeps values and what was computed.
        executor: runs what is heavy; left out, in line.
        frozen: compute nothing: what is not recorded raises `ReplayMiss`.
        unrecorded: told of each recipe whose counts are wanted and not recorded; may give counts to
            take instead of computing it.
    """

    def __init__(
        self,
        count: Callable[[Any], Manifest],
        recorded: Mapping[Key, Manifest] | None = None,
        disk: Disk | Shared | None = None,
        executor: Executor | None = None,
        *,
        frozen: bool = False,
        unrecorded: Callable[[Recipe[Any]], Manifest | None] | None = None,
    ) -> None:
        self.computed: dict[str, int] = {}
        """How many computations ran, by verb."""
        self.found: dict[str, int] = {}
        """How many were not computed for their counts, since these were recorded; by verb."""
        self.recorded: Mapping[Key, Manifest] = recorded or {}
        self.count = count
        self._disk = disk
        self._executor: Executor = executor or Inline()
        self._frozen, self._unrecorded = frozen, unrecorded
        self._promised: WeakValueDictionary[Key, Promise[Any]] = WeakValueDictionary()
        self._unsaved: dict[Key, Manifest] = {}

    def promise(self, recipe: Recipe[T]) -> Promise[T]:
        """The artifact of a recipe; the same one while somebody holds it."""
        key = recipe.key
        known = self._promised.get(key)
        if known is None:
            known = Promise(self, key, recipe)
            self._promised[key] = known
        return cast("Promise[T]", known)

    def start(self, promise: Promise[Any]) -> None:
        """Begin what is heavy and not recorded; asking for its manifest or value joins it."""
        recipe = promise.recipe
        if self._frozen or recipe is None or not recipe.heavy or promise.key in self.recorded:
            return
        for needed in recipe.inputs():
            if not needed.in_memory:
                self.compute(needed)
        self._begin(promise, recipe)

    def save(self, artifact: Promise[Any]) -> None:
        """Have a value, and keep it on disk, so that what follows can be computed from it.

        What was recorded, and is not at hand, was kept in its time.
        """
        if self._frozen or (artifact.key in self.recorded and not artifact.in_memory):
            return
        value = artifact.value
        if self._disk is not None:
            self._disk.save(artifact.key, value)
            self.flush()

    def flush(self) -> None:
        """Record on disk what was counted since the last time."""
        if self._disk is not None and self._unsaved:
            self._disk.record(self._unsaved)
            self._unsaved = {}

    def compute(self, wanted: Promise[Any]) -> None:
        """Make a promise's value, and first those of its ancestors that are not at hand.

        Generation by generation, without recursion: a chain of ten thousand rounds is no deeper
        than one, and what is heavy within a generation runs side by side.

        Raises:
            ReplayMiss: the store is frozen.
        """
        if self._frozen:
            raise ReplayMiss(
                f"{wanted.recipe} ({wanted.key}) is not recorded and the store is frozen; "
                "allow training (--train)"
            )
        generations = self._generations(wanted)
        while generations:
            generation = generations.popleft()
            for promise in generation:
                if promise.recipe is not None and promise.recipe.heavy:
                    self._begin(promise, promise.recipe)
            for promise in generation:
                self._finish(promise)

    def _generations(self, wanted: Promise[Any]) -> deque[list[Promise[Any]]]:
        """What must be computed for a promise, each generation after those it needs."""
        depth: dict[Key, int] = {}
        generations: deque[list[Promise[Any]]] = deque()
        stack = [wanted]
        while stack:
            promise = stack[-1]
            if promise.key in depth or promise.in_memory or self._load(promise):
                stack.pop()
                continue
            assert promise.recipe is not None
            inputs = [a for a in promise.recipe.inputs() if not a.in_memory]
            missing = [a for a in inputs if a.key not in depth and not self._load(a)]
            if missing:
                stack += missing
                continue
            level = 1 + max((depth[a.key] for a in inputs if a.key in depth), default=-1)
            depth[promise.key] = level
            while len(generations) <= level:
                generations.append([])
            generations[level].append(promise)
            stack.pop()
        return generations

    def _load(self, promise: Promise[Any]) -> bool:
        """Take a value from disk, if it is there."""
        value = None
        if promise.job is None and self._disk is not None:
            value = self._disk.load(promise.key)
        if value is not None:
            promise.keep(value)
        return value is not None

    def _begin(self, promise: Promise[Any], recipe: Recipe[Any]) -> None:
        if promise.job is None and not promise.in_memory:
            promise.job = self._executor.start(recipe.verb, recipe.values())

    def _finish(self, promise: Promise[Any]) -> None:
        recipe = promise.recipe
        if recipe is None:
            return
        job = promise.job
        value = recipe.run() if job is None else job.result()
        self.computed[recipe.word] = self.computed.get(recipe.word, 0) + 1
        if promise.expected is not None and self.count(value) != promise.expected:
            raise RuntimeError(f"{recipe}: the algorithm's rule for its counts is wrong")
        promise.keep(value)

    def manifest(self, promise: Promise[Any]) -> Manifest:
        """The recorded counts of a promise, else those of its value."""
        known = self.recorded.get(promise.key)
        recipe = promise.recipe
        if known is not None:
            if recipe is not None:
                self.found[recipe.word] = self.found.get(recipe.word, 0) + 1
            return known
        if recipe is not None and self._unrecorded is not None:
            known = self._unrecorded(recipe)
        if known is None and recipe is not None and not self._frozen:
            known = promise.expected = recipe.forecast()
        if known is None:
            known = self.count(promise.value)
        if self._disk is not None:
            self._unsaved[promise.key] = known
        return known


class Promise(Generic[T]):
    """An artifact of a store."""

    __slots__ = (
        "__weakref__", "_manifest", "_store", "_value", "expected", "job", "key", "recipe"
    )  # fmt: skip

    def __init__(self, store: Store, key: Key, recipe: Recipe[T]) -> None:
        self.key = key
        self.recipe: Recipe[T] | None = recipe
        self.job: Job | None = None
        self.expected: Manifest | None = None
        self._store = store
        self._value: T = _ABSENT
        self._manifest: Manifest | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the value is here."""
        return self._value is not _ABSENT

    @property
    def manifest(self) -> Manifest:
        """The recorded counts, else those of the value."""
        if self._manifest is None:
            self._manifest = self._store.manifest(self)
        return self._manifest

    @property
    def value(self) -> T:
        """The result, computed if need be."""
        if self._value is _ABSENT:
            self._store.compute(self)
        return self._value

    def keep(self, value: T) -> None:
        """Hold the result; the recipe, and so the ancestors, are let go."""
        self._value = value
        self.recipe = self.job = None
