"""The composition root: a scenario becomes objects. Nothing else constructs them."""

from __future__ import annotations

import platform as host
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any, Final

import networkx as nx
import torch

from simfl.availability.base import Spell
from simfl.cost.device import Device
from simfl.cost.population import Population
from simfl.cost.variation import Realization
from simfl.cost.wires import SERVER
from simfl.datafolder import Located, locate
from simfl.datasets.base import Dataset
from simfl.devices import load_group, notes
from simfl.errors import CostError, OptionError, ReplayMiss
from simfl.keys import Key, digest_of_files, key_of
from simfl.learning.normalization import Normalization
from simfl.learning.problem import LocalUpdate, Problem
from simfl.networks.base import Ground, Wiring, wire
from simfl.partitions.base import Partition
from simfl.running import Parts
from simfl.scenario import Scenario
from simfl.scenario.choices import Plugged
from simfl.strict import Where
from simfl.topologies.base import Site, refuse_islands

_LEARNING: Final = (
    *("algorithms", "datasets", "learning", "models", "objectives", "partitions", "pruning"),
)
_THREADS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What a scenario computes on and sends over.

    Attributes:
        groups: by device group, the device or the population that its nodes are of.
        devices: by node, its own.
        charges_j: by node that lives on its battery, what it has at the beginning.
        overlay: who talks to whom.
        notes: of the devices, for a person; the network has its own.
    """

    groups: dict[str, Device | Population]
    devices: dict[str, Device]
    wiring: Wiring
    charges_j: dict[str, float]
    overlay: nx.Graph[str]
    notes: tuple[str, ...]


def check(scenario: Scenario) -> Platform:
    """The devices, network and overlay of a scenario, and whether they fit; no data is opened.

    Raises:
        SimflError: a device, cohort, network or overlay that cannot be.
    """
    availability(scenario)
    clients, cohort = scenario.platform.clients, getattr(scenario.protocol.options, "cohort", None)
    if cohort is not None and cohort > clients:
        message = f"{cohort} of {clients} clients; give at most {clients}, or add devices"
        raise scenario.located(("protocol", "cohort"), message)
    groups: dict[str, Device | Population] = {}
    devices: dict[str, Device] = {}
    nodes, indices = list(scenario.platform.nodes.items()), scenario.platform.indices
    drawn = Realization(seed=scenario.seed, **dict(scenario.platform.variation))
    for group, choice in scenario.platform.devices.items():
        try:
            groups[group] = found = load_group(choice.model)
            for node, of in nodes:
                if of == group:
                    devices[node] = _own(found, drawn.population_seed, indices[node])
        except CostError as error:
            where = ("platform", "devices", group, "model")
            raise scenario.located(where, str(error)) from error
    return Platform(
        groups=groups,
        devices={node: devices[node] for node, _ in nodes},
        wiring=_wiring(scenario, groups, devices),
        charges_j=_charges(scenario, devices),
        overlay=_overlay(scenario),
        notes=notes(groups.values()),
    )


def _charges(scenario: Scenario, devices: Mapping[str, Device]) -> dict[str, float]:
    found = {}
    for node, group in scenario.platform.nodes.items():
        charge, device = scenario.platform.devices[group].charge, devices[node]
        if charge is None:
            continue
        battery, power = device.battery, device.power
        if battery is None or power is None or isnan(power.watts("idle") + power.watts("compute")):
            message = f"the file of {device.name} names no battery, or no watts; leave it out"
            raise scenario.located(("platform", "devices", group, "charge"), message)
        found[node] = charge * battery.value
    return found


def availability(scenario: Scenario) -> Mapping[str, Iterator[Spell]]:
    """When each client or peer is there, from the beginning.

    Raises:
        ScenarioError: a file of spells that does not fit.
    """
    indices = scenario.platform.indices
    nodes = [node for node, index in indices.items() if index >= 0]
    choice, where = scenario.platform.availability, ("platform", "availability")
    found: Mapping[str, Iterator[Spell]] = _plug(
        scenario, where, choice, nodes, folder=scenario.folder, seed=scenario.seed
    )
    return found


def _own(group: Device | Population, seed: int, index: int) -> Device:
    """The device of one node of a group."""
    return group.member(seed, index) if isinstance(group, Population) else group


def build(
    scenario: Scenario,
    data_dir: Path | None = None,
    *,
    located: Located | None = None,
    device: str = "cpu",
) -> Parts:
    """Make the objects that a scenario names.

    Args:
        scenario: what to build.
        data_dir: where data sets lie; see `simfl.datafolder.locate`.
        located: the data set, where it is known already.
        device: where PyTorch computes.

    Raises:
        SimflError: a device, data set or combination that cannot be.
    """
    one_thread()
    platform = check(scenario)
    located = located or locate(scenario.learning.dataset, data_dir, scenario.folder)
    learning = scenario.learning
    problem = Problem(
        architecture=_plug(
            scenario,
            ("learning", "model"),
            learning.model,
            classes=located.dataset.classes,
            sample_shape=located.dataset.sample_shape,
        ),
        dataset=located.dataset,
        clients=scenario.platform.clients,
        partition=_partition(scenario),
        recorded=located.held,
        normalization=_normalization(scenario, located.dataset),
        local=LocalUpdate(**learning.local.model_dump()),
        objective=tuple(
            _plug(scenario, ("learning", "objective", number), term)
            for number, term in enumerate(learning.objective)
        ),
        seed=scenario.seed,
        quantize=learning.quantize,
        device=device,
    )
    with _dealing(scenario, located.dataset):
        _ = problem.held
    shortest, least = problem.shortest_batch(), problem.architecture.least_batch
    if shortest < least:
        message = (
            f"a batch of {shortest} is left of some client's samples, and the batch normalisation "
            f"of {problem.architecture.name} needs {least}; give another size"
        )
        raise scenario.located(("learning", "local", "batch_size"), message)
    algorithm = _plug(scenario, ("learning", "algorithm"), learning.algorithm, problem)
    return Parts(
        scenario=scenario,
        located=located,
        problem=algorithm.problem,
        algorithm=algorithm,
        codec=_plug(scenario, ("codec",), scenario.codec),
        groups=platform.groups,
        devices=platform.devices,
        wiring=platform.wiring,
        availability=partial(availability, scenario),
        charges_j=platform.charges_j,
        notes=platform.notes,
        overlay=platform.overlay,
    )


def _plug(scenario: Scenario, where: Where, choice: Plugged, *args: Any, **names: Any) -> Any:
    """Build a plug-in."""
    with _placed(scenario, where):
        return choice.plugin().build(choice.options, *args, **names)


@contextmanager
def _placed(scenario: Scenario, where: Where) -> Iterator[None]:
    """An option that does not fit is told with its place."""
    try:
        yield
    except OptionError as error:
        raise scenario.located((*where, *error.option.split(".")), error.message) from error


def deal(scenario: Scenario, dataset: Dataset) -> None:
    """Whether a data set can be dealt out to the scenario's clients.

    Raises:
        ScenarioError: it cannot, or only its counts are at hand, and these are not enough.
    """
    with _dealing(scenario, dataset):
        _partition(scenario).deal(dataset, scenario.platform.clients, scenario.seed)


def _partition(scenario: Scenario) -> Partition:
    choice = scenario.learning.dataset.partition
    return Partition(name=choice.name, options=choice.options)


@contextmanager
def _dealing(scenario: Scenario, dataset: Dataset) -> Iterator[None]:
    """What cannot be dealt out is told with its place."""
    where = ("learning", "dataset", "partition")
    clients, samples = scenario.platform.clients, dataset.train_samples
    if clients > samples:
        message = f"{clients} clients for {samples} samples of {dataset.name}; give fewer"
        raise scenario.located(("platform", "devices"), message)
    try:
        with _placed(scenario, where):
            yield
    except ReplayMiss as error:
        message = (
            f"{_partition(scenario).name} for {clients} clients with seed {scenario.seed} is not "
            f"recorded, and {error}"
        )
        raise scenario.located(where, message) from error


def _normalization(scenario: Scenario, dataset: Dataset) -> Normalization | None:
    choice, channels = scenario.learning.dataset.normalize, dataset.sample_shape[0]
    if choice is None:
        return None
    for key, numbers in choice:
        if len(numbers) not in (1, channels):
            message = (
                f"{len(numbers)} numbers for images of {channels} channels ({dataset.name}); "
                "give one for each, or one for all"
            )
            raise scenario.located(("learning", "dataset", "normalize", key), message)
    return Normalization(mean=tuple(choice.mean), std=tuple(choice.std))


def _wiring(
    scenario: Scenario,
    groups: Mapping[str, Device | Population],
    devices: Mapping[str, Device],
) -> Wiring:
    """The scenario's network over node names."""
    choice = scenario.platform.network
    members = {
        node: devices[node]
        for node, group in scenario.platform.nodes.items()
        if isinstance(groups[group], Population)
    }
    kinds = {group: d for group, d in groups.items() if isinstance(d, Device)}
    ground = Ground(
        nodes=scenario.platform.nodes,
        seed=scenario.seed,
        folder=scenario.folder,
        access={group: d.access.value for group, d in groups.items() if d.access},
        radios_bps={n: d.radio.value for n, d in {**members, **kinds}.items() if d.radio},
        links_bps={node: d.radio.value for node, d in members.items() if d.radio},
    )
    with _placed(scenario, ("platform", "network")):
        return wire(choice.plugin().build, choice.options, ground)


def _overlay(scenario: Scenario) -> nx.Graph[str]:
    """The scenario's topology over node names; nobody is left alone in it."""
    where, choice = ("topology",), scenario.topology
    site = Site(nodes=scenario.platform.nodes, seed=scenario.seed, folder=scenario.folder)
    overlay: nx.Graph[str] = _plug(scenario, where, choice, site)
    with _placed(scenario, where):
        refuse_islands(overlay)
    return overlay


def one_thread() -> None:
    """Results do not depend on how many cores this machine has."""
    torch.set_num_threads(_THREADS)


def computed_by(parts: Parts) -> Key:
    """Names everything that a result depends on but its arguments."""
    return key_of(parts.algorithm.name, _learning_digest(), backend(parts.problem.device))


@lru_cache(maxsize=1)
def _learning_digest() -> str:
    """Of every source file that decides what is computed."""
    root = Path(__file__).parent
    files = [p for part in _LEARNING for p in (root / part).rglob("*.py")]
    return digest_of_files([*files, *(root / f"{n}.py" for n in ("tensors", "precision", "keys"))])


def backend(device: str) -> str:
    """What decides the last bit of a result. The executor does not: all give the same bits."""
    if device != "cpu":
        return f"torch {torch.__version__} {torch.cuda.get_device_name(device)}"
    capability = torch.backends.cpu.get_cpu_capability()
    compiled = f"numba {version('numba')}"
    return f"torch {torch.__version__} {compiled} cpu {capability} threads {_THREADS}"


def node_rows(parts: Parts) -> list[tuple[Any, ...]]:
    """The rows of a trace's table ``nodes``."""
    rows: list[tuple[Any, ...]] = []
    for node, index in parts.scenario.platform.indices.items():
        samples = parts.problem.participants[index].samples if index >= 0 else 0
        role = "client" if parts.scenario.platform.has_server else "peer"
        if index < 0:
            role = "server" if node == SERVER else "between"
        rows.append((node, index, role, parts.devices[node].name, samples))
    return rows


def attributes(parts: Parts) -> dict[str, Any]:
    """What a trace says of itself, besides its tables."""
    packages = ("simfl", "torch", "numpy", "simpy", "h5py")
    return {
        "scenario": parts.scenario.as_yaml(),
        "folder": str(parts.scenario.folder.resolve()),
        "seed": parts.scenario.seed,
        "dataset": {
            "asked": parts.located.asked,
            "stands_in": parts.located.stands_in,
            **parts.located.dataset.facts(),
            "held": asdict(parts.problem.held),
        },
        "computed_by": computed_by(parts),
        "devices": {g: d.model_dump(mode="json") for g, d in parts.groups.items()},
        "device_notes": list(parts.notes),
        "versions": {name: version(name) for name in packages}
        | {"python": host.python_version(), "backend": backend(parts.problem.device)},
    }
