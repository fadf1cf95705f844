"""The four answers that make a first scenario, read from text as it is typed.

What is learnt (``mnist``, ``mnist lenet5``, ``mine.npz`` or a folder of images), by which
algorithm, on which devices (``5 pi3, 5 pi4``), over which network (a kind, a link, or a rate).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from simfl import registry
from simfl.cost.preset import preset_names
from simfl.devices import load_group
from simfl.errors import ScenarioError, did_you_mean
from simfl.units import exact, parse

_COUNT: Final = 10
_SIZE: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class _Habit(NamedTuple):
    """What suits a data set for a first run: all assumed but the models that papers use."""

    model: str
    learning_rate: float
    target: float | None


# models: PruneFL's for MNIST, FedDIP's for Fashion-MNIST, the Flower study's for CIFAR; with LEAF's
# own for FEMNIST (conv2_leaf) a first run took 88 s. Rates and targets are assumed, and the targets
# above what guessing has on the stand-in, 0.1
_HABITS: Final[Mapping[str, _Habit]] = {
    "digits": _Habit("lenet_300_100", 0.1, 0.9),
    "mnist": _Habit("lenet_300_100", 0.1, 0.9),
    "fashion_mnist": _Habit("lenet5", 0.1, 0.7),
    "femnist": _Habit("lenet5", 0.1, 0.4),
    "cifar10": _Habit("simple_cnn", 0.05, 0.4),
    "cifar100": _Habit("simple_cnn", 0.05, None),
    "celeba": _Habit("simple_cnn", 0.05, 0.7),
}
_OTHERS: Final = _Habit("simple_cnn", 0.05, None)
# where the model is not named and the algorithm prunes filters, of which a perceptron has none
_FILTERS: Final = "lenet5"
# who needs no server; whoever else is new goes with one
_PEERS: Final = frozenset({"dfl_trim"})
# of kinds that need options: figures to begin with
_NETWORKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "access_links": {"down": "20 Mbit/s", "up": "5 Mbit/s", "latency": "20 ms"},
    "cells": {"cells": 2, "wifi": "wifi_5ghz", "backbone": "ethernet_1g"},
    "fat_tree": {"link": "ethernet_1g"},
    "random_geometric": {"radius": 0.5, "link": "ethernet_100"},
    "ring": {"link": "ethernet_100"},
}


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """The answer to what is learnt; ``model`` is None where the data set is to say."""

    dataset: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Everything that is answered.

    Attributes:
        name: of the scenario.
        groups: device model (a name or a file) and how many, by group.
        network: the kind, and its options.
    """

    name: str
    learnt: Learnt
    algorithm: str
    groups: Mapping[str, tuple[str, int]]
    network: tuple[str, Mapping[str, Any]]

    @property
    def options(self) -> type[Any]:
        """What may be said of the algorithm."""
        found: type[Any] = registry.ALGORITHMS.get(self.algorithm).options
        return found

    @property
    def habit(self) -> _Habit:
        """What suits the data set."""
        return _HABITS.get(self.learnt.dataset, _OTHERS)

    @property
    def model(self) -> str:
        """As answered, or what suits data set and algorithm."""
        suits = self.habit.model
        if suits == "lenet_300_100" and getattr(self.options, "needs_filters", False):
            suits = _FILTERS
        return self.learnt.model or suits

    @property
    def peers(self) -> bool:
        """Whether there is no server."""
        return self.algorithm in _PEERS


def read_name(text: str) -> tuple[str, Path]:
    """The scenario's name and its file: ``demo`` or ``demo.yaml``, in this folder or another.

    >>> read_name("demo")[1].name
    'demo.yaml'

    Raises:
        ScenarioError: not a name, no such folder, or the file is there already.
    """
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        path = path.with_name(f"{path.name}.yaml") if path.name else path
    if not _NAME.fullmatch(path.stem):
        raise ScenarioError(f"{text}: not a name; give letters, digits, '_', '.' and '-'")
    if not path.parent.is_dir():
        raise ScenarioError(f"{text}: there is no folder {path.parent}; make it")
    if path.exists():
        raise ScenarioError(f"{path}: exists already; give another name, or remove it")
    return path.stem, path


def read_learnt(text: str, folder: Path = Path()) -> Learnt:
    """A data set, and if need be a model: ``mnist``, ``mnist lenet5``, ``mine.npz``, ``photos/``.

    >>> read_learnt("mnist lenet5").model
    'lenet5'

    Args:
        text: the answer.
        folder: of the scenario, from which it names files.

    Raises:
        ScenarioError: no such data set, model or file.
    """
    data, _, model = text.strip().partition(" ")
    model = model.strip()
    if model:
        _known("model", model, registry.MODELS.names())
    if Path(data).suffix == ".npz" or "/" in data:
        if not Path(data).exists():
            raise ScenarioError(f"{data}: no such file; give a .npz, or a folder of images")
        there = Path(relpath(data, folder)).as_posix()
        own = {"file": there} if Path(data).is_file() else {"folder": there, "size": 32}
        return Learnt(
            dataset="npz" if "file" in own else "image_folder", options=own, model=model or None
        )
    _known("data set", data, registry.DATASETS.names())
    if registry.DATASETS.get(data).needs_options:
        raise ScenarioError(f"{data}: give the file or folder itself, as mine.npz or ./photos")
    return Learnt(dataset=data, model=model or None)


def read_algorithm(text: str) -> str:
    """An algorithm's name.

    Raises:
        ScenarioError: there is none of it.
    """
    return _known("algorithm", text.strip(), registry.ALGORITHMS.names())


def read_devices(text: str) -> dict[str, tuple[str, int]]:
    """Groups of devices: ``pi4`` (ten of them), or ``5 pi3, 5 pi4``; names or files.

    >>> read_devices("5 pi3, pi4")
    {'pi3': ('pi3', 5), 'pi4': ('pi4', 10)}

    Raises:
        ScenarioError: not of that form.
        CostError: no such device.
    """
    groups: dict[str, tuple[str, int]] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(?:(\d+)\s*x?\s+)?(\S+)\s*", part)
        if found is None or found[1] == "0":
            raise ScenarioError(f"{part.strip() or text}: write COUNT DEVICE, as 5 pi3, 5 pi4")
        count, model = int(found[1] or _COUNT), found[2]
        group = load_group(model).name
        if group in groups or group == "server":
            raise ScenarioError(f"{text}: '{group}' stands twice; give one count for each device")
        groups[group] = model, count
    return groups


def read_network(text: str) -> tuple[str, dict[str, Any]]:
    """A kind of network, a link of ``simfl list links`` for each device, or its rate.

    >>> read_network("lte"), read_network("20 Mbit/s")
    (('star', {'access': 'lte'}), ('access_links', {'down': '20 Mbit/s', 'up': '20 Mbit/s'}))

    Raises:
        ScenarioError: none of these.
    """
    name = text.strip()
    if name[:1].isdigit() and " " in name:
        try:
            rate = exact(parse(name, "rate"), "rate")
        except ValueError as error:
            raise ScenarioError(f"{name}: {error}") from error
        return "access_links", {"down": rate, "up": rate}
    if name in preset_names():
        return "star", {"access": name}
    kinds = [kind for kind in registry.NETWORKS.names() if kind != "file"]
    _known("network", name, [*kinds, *preset_names()])
    if name not in _NETWORKS and registry.NETWORKS.get(name).needs_options:
        raise ScenarioError(f"{name}: has options of its own; take star, and write it in the file")
    return name, dict(_NETWORKS.get(name, {}))


def _known(kind: str, name: str, names: list[str]) -> str:
    if name not in names:
        raise ScenarioError(f"unknown {kind} '{name}'; {did_you_mean(name, names)}")
    return name
