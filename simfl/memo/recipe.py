"""A computation by name, and its promised result.

A recipe is a pure function with its arguments; its key is known before anything is computed. An
artifact is the promise of its result: whoever holds it may look at the manifest (counts); only
learning looks at the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from simfl.keys import Key, key_of
from simfl.work import Manifest, Participant, Turn

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Artifact(Protocol[T_co]):
    """The promised result of a recipe."""

    @property
    def key(self) -> Key:
        """Its content key."""

    @property
    def manifest(self) -> Manifest:
        """Its counts: recorded, or computed with the value."""

    @property
    def value(self) -> T_co:
        """The result: in memory, from a checkpoint, or computed now."""


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """A payload and who sent it: an artifact in a recipe's arguments, its value inside the verb."""

    payload: T
    sender: Participant


class Recipe(NamedTuple, Generic[T]):
    """A pure function, the name of everything it depends on but its arguments, and the arguments.

    Attributes:
        verb: what is called with the arguments' values.
        name: the verb's name and a digest of what it closes over (algorithm, problem, sources).
        heavy: worth an executor; what is not heavy is computed where it is wanted.
        counts: the manifest of the result from the arguments, where it follows from theirs; it may
            give None.
    """

    verb: Callable[..., T]
    name: str
    args: tuple[Any, ...]
    heavy: bool = False
    counts: Callable[..., Manifest | None] | None = None

    @property
    def key(self) -> Key:
        """The hash of the name and the arguments: artifacts by key, plain values by ``repr``."""
        return key_of(self.name, *map(_name, self.args))

    @property
    def word(self) -> str:
        """The verb's name."""
        return self.name.partition(" ")[0]

    def inputs(self) -> list[Any]:
        """The artifacts among the arguments."""
        found: list[Any] = []
        for arg in self.args:
            _collect(arg, found)
        return found

    def values(self) -> tuple[Any, ...]:
        """The arguments' values."""
        return tuple(map(_value, self.args))

    def forecast(self) -> Manifest | None:
        """The manifest of the result, if it is known without computing."""
        return None if self.counts is None else self.counts(*map(counted, self.args))

    def run(self) -> T:
        """Call the verb on the arguments' values."""
        return self.verb(*self.values())

    def __str__(self) -> str:
        """For messages: the verb, and whose turn it is."""
        return " ".join([self.word, *(repr(arg) for arg in self.args if isinstance(arg, Turn))])


def counted(arg: Any) -> Any:
    """An argument as rules see it: artifacts by their manifest."""
    if isinstance(arg, Received):
        return Received(counted(arg.payload), arg.sender)
    if isinstance(arg, tuple):
        return tuple(map(counted, arg))
    return arg.manifest if _is_artifact(arg) else arg


def _is_artifact(arg: Any) -> bool:
    """By its class: asking the artifact itself for its manifest would compute it."""
    return hasattr(type(arg), "manifest")


def _name(arg: Any) -> str:
    if _is_artifact(arg):
        return str(arg.key)
    if isinstance(arg, Received):
        return f"({_name(arg.payload)} {arg.sender!r})"
    if isinstance(arg, tuple):
        return f"[{' '.join(map(_name, arg))}]"
    return repr(arg)


def _collect(arg: Any, found: list[Any]) -> None:
    if _is_artifact(arg):
        found.append(arg)
    elif isinstance(arg, Received):
        _collect(arg.payload, found)
    elif isinstance(arg, tuple):
        for part in arg:
            _collect(part, found)


def _value(arg: Any) -> Any:
    if _is_artifact(arg):
        return arg.value
    if isinstance(arg, Received):
        return replace(arg, payload=_value(arg.payload))
    if isinstance(arg, tuple):
        return tuple(map(_value, arg))
    return arg
