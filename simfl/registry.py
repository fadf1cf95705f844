"""Names to plug-ins: one registry per package, found by scanning the package.

A plug-in is one file that carries its own name: ``simfl/models/lenet_300_100.py`` registers
``lenet_300_100``. Names are listed without importing anything; a file is imported when its name is
asked for. From Python, outside the package: decorate, then call `simfl.run`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from simfl.errors import RegistryError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """One entry: what builds it, and the pydantic model of what a scenario may say of it."""

    name: str
    build: T
    options: type[Any]

    @property
    def needs_options(self) -> bool:
        """Whether its name alone will not do."""
        return any(field.is_required() for field in self.options.model_fields.values())


class Registry(Generic[T]):
    """The plug-ins of one kind.

    Args:
        kind: the word that messages use, such as ``model``.
        package: the package that is scanned.
        helpers: its modules that are not plug-ins.
    """

    def __init__(self, kind: str, package: str, helpers: tuple[str, ...] = ("base",)) -> None:
        self.kind = kind
        self._package = package
        self._helpers = frozenset(helpers)
        self._plugins: dict[str, Plugin[T]] = {}

    def register(self, name: str, options: type[Any]) -> Callable[[T], T]:
        """Decorate what builds the plug-in.

        Raises:
            RegistryError: another plug-in has that name.
        """

        def add(build: T) -> T:
            here = getattr(build, "__qualname__", ""), getattr(build, "__module__", "")
            old = self._plugins.get(name)
            if old is not None:
                there = getattr(old.build, "__qualname__", ""), getattr(old.build, "__module__", "")
                if here != there:
                    raise RegistryError(
                        f"{self.kind} '{name}' is registered by {there[1]} and by {here[1]}; "
                        "give one of them another name"
                    )
            self._plugins[name] = Plugin(name, build, options)
            return build

        return add

    def names(self) -> list[str]:
        """Every name that can be asked for, sorted; nothing is imported."""
        folder = Path(__file__).parent / self._package.removeprefix("simfl.").replace(".", "/")
        files = {m.name for m in pkgutil.iter_modules([str(folder)])} - self._helpers
        return sorted(files | set(self._plugins))

    def get(self, name: str) -> Plugin[T]:
        """The plug-in of that name, its module imported if need be.

        Raises:
            RegistryError: no such name, with the nearest valid one.
        """
        if name not in self._plugins:
            if name not in self.names():
                raise RegistryError(
                    f"unknown {self.kind} '{name}'; {did_you_mean(name, self.names())}"
                )
            import_module(f"{self._package}.{name}")
            if name not in self._plugins:
                raise RegistryError(f"{self._package}.{name} does not register '{name}'")
        return self._plugins[name]


_HELPERS: Final = (
    *("base", "convolutions", "count", "keras", "low_rank", "residual", "shapes", "storages"),
)
MODELS: Final[Registry[Any]] = Registry("model", "simfl.models", _HELPERS)
DATASETS: Final[Registry[Any]] = Registry(
    "data set", "simfl.datasets", ("arrays", "base", "cifar", "idx", "leaf")
)
PARTITIONS: Final[Registry[Any]] = Registry("partition", "simfl.partitions", ("base", "transforms"))
ALGORITHMS: Final[Registry[Any]] = Registry("algorithm", "simfl.algorithms")
OBJECTIVES: Final[Registry[Any]] = Registry("loss term", "simfl.objectives")
CODECS: Final[Registry[Any]] = Registry(
    "codec", "simfl.codecs", ("base", "counted", "matrices", "reading", "values")
)
TOPOLOGIES: Final[Registry[Any]] = Registry("topology", "simfl.topologies")
NETWORKS: Final[Registry[Any]] = Registry(
    "network kind", "simfl.networks", ("base", "choice", "routes")
)
AVAILABILITY: Final[Registry[Any]] = Registry("availability", "simfl.availability")
SELECTION: Final[Registry[Any]] = Registry("selection", "simfl.selection")
PROTOCOLS: Final[Registry[Any]] = Registry("protocol", "simfl.protocols", ("base", "visits"))
