"""The memo store: manifests for ever, tensors while somebody holds their artifact.

What was recorded is never computed again for its counts. Where a value is wanted that nobody holds,
it comes from a checkpoint, or is computed from the nearest ancestors that are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from simfl.errors import ReplayMiss
from simfl.keys import Key
from simfl.memo.checkpoints import Checkpoints
from simfl.memo.recipe import Recipe
from simfl.work import Manifest

T = TypeVar("T")
_ABSENT: Any = object()


class Store:
    """Promises by key.

    Args:
        count: the manifest of a value.
        recorded: manifests known from an earlier run; they need no computing.
        checkpoints: values on disk.
        frozen: compute nothing: what is not recorded raises `ReplayMiss`.
    """

    def __init__(
        self,
        count: Callable[[Any], Manifest],
        recorded: Mapping[Key, Manifest] | None = None,
        checkpoints: Checkpoints | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        self.computed: dict[str, int] = {}
        """How many computations ran, by verb."""
        self.recorded: Mapping[Key, Manifest] = recorded or {}
        self.count = count
        self._checkpoints = checkpoints
        self._frozen = frozen
        self._promised: WeakValueDictionary[Key, Promise[Any]] = WeakValueDictionary()

    def promise(self, recipe: Recipe[T]) -> Promise[T]:
        """The artifact of a recipe; the same one while somebody holds it."""
        key = recipe.key
        known = self._promised.get(key)
        if known is None:
            known = Promise(self, key, recipe)
            self._promised[key] = known
        return cast("Promise[T]", known)

    def checkpoint(self, artifact: Promise[Any]) -> None:
        """Save a value to disk, so that what follows can be resumed from it."""
        if self._checkpoints is not None and artifact.in_memory:
            self._checkpoints.save(artifact.key, artifact.value)

    def compute(self, wanted: Promise[Any]) -> None:
        """Make a promise's value, and first those of its inputs that are not at hand.

        Depth first without recursion: a chain of ten thousand rounds is no deeper than one.

        Raises:
            ReplayMiss: the store is frozen.
        """
        stack = [wanted]
        while stack:
            promise = stack[-1]
            recipe = promise.recipe
            if recipe is None:
                stack.pop()
                continue
            if self._checkpoints is not None and self._checkpoints.has(promise.key):
                promise.keep(self._checkpoints.load(promise.key))
                continue
            if self._frozen:
                raise ReplayMiss(
                    f"{recipe.name.partition(' ')[0]} {promise.key} is not recorded and the store "
                    "is frozen; allow training"
                )
            missing = [a for a in recipe.inputs() if not a.in_memory]
            if missing:
                stack += missing
                continue
            verb = recipe.name.partition(" ")[0]
            self.computed[verb] = self.computed.get(verb, 0) + 1
            promise.keep(recipe.run())


class Promise(Generic[T]):
    """An artifact of a store."""

    __slots__ = ("__weakref__", "_manifest", "_store", "_value", "key", "recipe")

    def __init__(self, store: Store, key: Key, recipe: Recipe[T]) -> None:
        self.key = key
        self.recipe: Recipe[T] | None = recipe
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
            known = self._store.recorded.get(self.key)
            self._manifest = self._store.count(self.value) if known is None else known
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
        self.recipe = None
