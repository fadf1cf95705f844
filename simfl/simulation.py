"""The composition root: a scenario becomes objects, the objects run, a trace remains."""

from __future__ import annotations

import logging
import platform as host
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import simpy
import torch
import yaml

from simfl.cost.device import StackDevice
from simfl.cost.link import SERVER, AccessLinksModel, NetworkModel, SharedMediumModel
from simfl.datafolder import locate
from simfl.devices import load_device
from simfl.errors import CostError, OptionError, ScenarioError, SimflError, TraceError
from simfl.keys import Key, digest_of_files, key_of
from simfl.learning.problem import LocalUpdate, Problem
from simfl.memo import Artifact, Promise, Recipe, Store
from simfl.memo.checkpoints import Checkpoints
from simfl.record import Trace, TraceWriter
from simfl.running import Forecast, Parts, Progress, Recording, Simulation, Tape
from simfl.scenario import Scenario, loads
from simfl.scenario.schema import AccessLinks, Named
from simfl.strict import Where
from simfl.work import Manifest

log = logging.getLogger(__name__)

_LEARNING: Final = ("algorithms", "datasets", "learning", "models", "pruning")
_THREADS: Final = 1


def check(scenario: Scenario) -> tuple[dict[str, StackDevice], NetworkModel]:
    """The devices and the network that a scenario names, and whether they fit; no data is opened.

    Raises:
        SimflError: a device, cohort or network that cannot be.
    """
    devices = {}
    for group, choice in scenario.platform.devices.items():
        try:
            devices[group] = load_device(choice.model)
        except CostError as error:
            where = ("platform", "devices", group, "model")
            raise scenario.located(where, str(error)) from error
    clients, cohort = scenario.platform.clients, getattr(scenario.protocol.options, "cohort", None)
    if cohort is not None and cohort > clients:
        message = f"{cohort} of {clients} clients; give at most {clients}, or add devices"
        raise scenario.located(("protocol", "cohort"), message)
    return devices, _network(scenario, devices)


def build(scenario: Scenario, data_dir: Path | None = None) -> Parts:
    """Make the objects that a scenario names.

    Raises:
        SimflError: a device, data set or combination that cannot be.
    """
    # one thread: results do not depend on how many cores this machine has
    torch.set_num_threads(_THREADS)
    devices, network = check(scenario)
    located = locate(scenario.learning.dataset, data_dir)
    clients, samples = scenario.platform.clients, len(located.dataset.train_labels)
    if clients > samples:
        message = f"{clients} clients for {samples} samples of {located.dataset.name}; give fewer"
        raise scenario.located(("platform", "devices"), message)
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
        clients=clients,
        local=LocalUpdate(**learning.local.model_dump(exclude={"optimizer"})),
        seed=scenario.seed,
    )
    shortest, least = problem.shortest_batch(), problem.architecture.least_batch
    if shortest < least:
        message = (
            f"a batch of {shortest} is left of some client's samples, and the batch normalisation "
            f"of {problem.architecture.name} needs {least}; give another size"
        )
        raise scenario.located(("learning", "local", "batch_size"), message)
    return Parts(
        scenario=scenario,
        located=located,
        problem=problem,
        algorithm=_plug(scenario, ("learning", "algorithm"), learning.algorithm, problem),
        codec=_plug(scenario, ("codec",), scenario.codec),
        devices=devices,
        network=network,
        overlay=_plug(
            scenario,
            ("topology",),
            scenario.topology,
            list(scenario.platform.nodes),
            seed=scenario.seed,
        ),
    )


def run(
    scenario: Scenario,
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    on_start: Callable[[Parts], None] | None = None,
    on_round: Callable[[Progress], None] | None = None,
) -> Trace:
    """Run a scenario to its end.

    Args:
        scenario: what to run.
        data_dir: where data sets lie; see `simfl.datafolder.locate`.
        out: the trace's path, instead of the scenario's.
        on_start: called once everything is built.
        on_round: called after each round.

    Raises:
        SimflError: bad input, or a device that cannot hold its part; what was simulated until then
            stays in the trace.
    """
    path = out or Path(scenario.record.path)
    parts = build(scenario, data_dir)
    if on_start:
        on_start(parts)
    checkpoints = _claim(path)
    checkpoints.forget()
    _simulate(parts, path, {}, checkpoints, on_round)
    return Trace(path)


def resume(
    path: Path,
    *,
    data_dir: Path | None = None,
    on_start: Callable[[Parts], None] | None = None,
    on_round: Callable[[Progress], None] | None = None,
) -> Trace:
    """Finish a run that was killed: what its trace records is not computed again.

    The trace is written anew beside the old one and takes its place at the end; being killed once
    more loses nothing either.

    Raises:
        TraceError: not a trace.
        ScenarioError: the data set is not the one of the first part.
    """
    old, beside = Trace(path), path.with_name(path.name + ".resumed")
    if old.complete:
        return old
    checkpoints = _claim(path)
    if beside.exists():
        try:
            later = Trace(beside)
        except TraceError:
            beside.unlink()
        else:
            if len(later.raw("activities")) > len(old.raw("activities")):
                beside.replace(path)
                old = Trace(path)
    parts = build(loads(old.scenario, str(path)), data_dir)
    if parts.located.dataset.digest() != old.dataset["digest"]:
        raise ScenarioError(
            f"{path}: was run on {old.dataset['name']}, and {parts.located.dataset.name} as found "
            "now is other data; give the --data-dir of the first part"
        )
    if old.attributes.get("computed_by") != _computed_by(parts):
        log.warning(
            "%s: simfl's learning code, torch or the processor changed since; all is computed anew",
            path,
        )
    if on_start:
        on_start(parts)
    _simulate(parts, beside, old.recorded(), checkpoints, on_round)
    beside.replace(path)
    return Trace(path)


def plan(scenario: Scenario, data_dir: Path | None = None) -> tuple[Parts, Tape]:
    """One round by counting: the protocol, devices and network as in a run, and nothing trained."""
    parts, tape = build(scenario, data_dir), Tape()
    env = simpy.Environment()
    algorithm = parts.algorithm

    def promise(verb: Callable[..., Any], *args: Any) -> Artifact[Any]:
        return Forecast(verb, args, algorithm.forecast)

    simulation = Simulation(env, parts, tape, promise, lambda *_: None)
    simulation.play(rounds=1)
    return parts, tape


def _plug(scenario: Scenario, where: Where, choice: Named, *args: Any, **names: Any) -> Any:
    """Build a plug-in; an option that does not fit is told with its place."""
    try:
        return choice.plugin().build(choice.options, *args, **names)
    except OptionError as error:
        raise scenario.located((*where, error.option), error.message) from error


def _simulate(
    parts: Parts,
    path: Path,
    recorded: Mapping[Key, Manifest],
    checkpoints: Checkpoints,
    on_round: Callable[[Progress], None] | None,
) -> None:
    if not parts.scenario.platform.has_server:
        checkpoints.kept *= parts.scenario.platform.clients
    store = Store(lambda value: value.manifest(), recorded, checkpoints)
    name = _computed_by(parts)

    def promise(verb: Callable[..., Any], *args: Any) -> Promise[Any]:
        return store.promise(Recipe(verb, f"{verb.__name__} {name}", args))

    env = simpy.Environment()
    try:
        writer = TraceWriter(path, _node_rows(parts), _attributes(parts))
    except TraceError:
        if not recorded:
            checkpoints.remove()
        raise
    recording = Recording(env, parts, writer, promise, store, on_round)
    simulation = Simulation(env, parts, recording, promise, recording.observe)
    try:
        status = simulation.play(recording.ended)
    except BaseException as error:
        if isinstance(error, SimflError) and not isinstance(error, TraceError):
            # what the scenario asks cannot be done: there is nothing to resume
            writer.close(f"failed: {error}")
            checkpoints.remove()
        else:
            writer.abandon()
        raise
    writer.close(f"complete: {status}")
    checkpoints.remove()


def _claim(path: Path) -> Checkpoints:
    """The saved states beside a trace, for this process alone.

    Raises:
        TraceError: another process is writing that trace, or nobody can.
    """
    checkpoints = Checkpoints(path.with_name(path.name + ".checkpoints"))
    try:
        claimed = checkpoints.claim()
    except OSError as error:
        raise TraceError(
            f"{path}: cannot write the trace: {error.strerror}; give another place with --out"
        ) from error
    if not claimed:
        raise TraceError(
            f"{path}: another process is writing it; wait for it, or give another place with --out"
        )
    return checkpoints


def _network(scenario: Scenario, devices: Mapping[str, StackDevice]) -> NetworkModel:
    """The scenario's network over node names."""
    choice, nodes = scenario.platform.network, scenario.platform.nodes
    if isinstance(choice, AccessLinks):
        server = {SERVER: choice.server_down}, {SERVER: choice.server_up}
        down, up = ({place: rate for place, rate in limit.items() if rate} for limit in server)
        for node in nodes:
            if node != SERVER:
                down[node], up[node] = choice.down, choice.up
        return AccessLinksModel(
            down_bps=down, up_bps=up, latency_s=choice.latency, places=frozenset(nodes)
        )
    rates = {}
    for node, group in nodes.items():
        if node == SERVER:
            continue
        radio = devices[group].radio
        rate = choice.rates.get(group) or choice.rate or (radio.value if radio else None)
        if rate is None:
            message = (
                f"device '{devices[group].name}' has no radio rate of its own; give rate, or "
                f"rates: {{{group}: ...}}"
            )
            raise scenario.located(("platform", "network"), message)
        rates[node] = rate
    return SharedMediumModel(rates_bps=rates, exchange_overhead_s=choice.exchange_overhead)


def _computed_by(parts: Parts) -> Key:
    """Names everything that a result depends on but its arguments."""
    return key_of(parts.algorithm.name, _learning_digest(), _backend())


@lru_cache(maxsize=1)
def _learning_digest() -> str:
    """Of every source file that decides what is computed."""
    root = Path(__file__).parent
    files = [p for part in _LEARNING for p in (root / part).rglob("*.py")]
    return digest_of_files([*files, root / "tensors.py", root / "keys.py"])


def _backend() -> str:
    """What decides the last bit of a result."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__} cpu {capability} threads {_THREADS}"


def _node_rows(parts: Parts) -> list[tuple[Any, ...]]:
    held = iter(parts.problem.participants)
    rows: list[tuple[Any, ...]] = []
    for node, group in parts.scenario.platform.nodes.items():
        device = parts.devices[group].name
        if node == SERVER:
            rows.append((node, -1, "server", device, 0))
        else:
            participant = next(held)
            role = "client" if parts.scenario.platform.has_server else "peer"
            rows.append((node, participant.index, role, device, participant.samples))
    return rows


def _attributes(parts: Parts) -> dict[str, Any]:
    packages = ("simfl", "torch", "numpy", "simpy", "h5py")
    return {
        "scenario": yaml.safe_dump(parts.scenario.written(), sort_keys=False),
        "seed": parts.scenario.seed,
        "dataset": {
            "asked": parts.located.asked,
            "name": parts.located.dataset.name,
            "stands_in": parts.located.stands_in,
            "digest": parts.located.dataset.digest(),
        },
        "computed_by": _computed_by(parts),
        "devices": {g: d.model_dump(mode="json") for g, d in parts.devices.items()},
        "versions": {name: version(name) for name in packages}
        | {"python": host.python_version(), "backend": _backend()},
    }
