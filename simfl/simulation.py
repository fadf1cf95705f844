"""Runs: the objects of a scenario move, a trace remains."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Final

import simpy
from filelock import FileLock, Timeout

from simfl.assembly import attributes, build, computed_by, node_rows
from simfl.datafolder import Located
from simfl.errors import DeviceMemoryError, RecordError, ScenarioError, SimflError, TraceError
from simfl.hosting import Host
from simfl.keys import Key
from simfl.memo import Artifact, Promise, Recipe, Store
from simfl.memo.auto import Auto
from simfl.planning import Forecast, Tape
from simfl.record import Trace, TraceWriter
from simfl.recording import Progress, Recording
from simfl.running import Parts, Simulation
from simfl.scenario import Scenario, loads
from simfl.work import Manifest

log = logging.getLogger(__name__)

# assumed: what runs that are over may leave in memory until the collector is made to look
_LEFT_BYTES: Final = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run computed; no part of its trace.

    Attributes:
        computed: computations by verb.
        found: those that were recorded already, by verb.
        executor: which one ran them, and what ``auto`` measured.
    """

    computed: Mapping[str, int]
    found: Mapping[str, int]
    executor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who is told how a run goes.

    Attributes:
        start: called once everything is built.
        round: called after each round.
        end: called after the trace is closed.
        repeat: called after each repeat, with its row.
    """

    start: Callable[[Parts], None] = lambda _: None
    round: Callable[[Progress], None] | None = None
    end: Callable[[Outcome], None] = lambda _: None
    repeat: Callable[[dict[str, Any]], None] = lambda _: None


def run(
    scenario: Scenario,
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    host: Host | None = None,
    listeners: Listeners | None = None,
    verify: bool = False,
) -> Trace:
    """Run a scenario to its end.

    Args:
        scenario: what to run.
        data_dir: where data sets lie; see `simfl.datafolder.locate`.
        out: the trace's path, instead of the scenario's.
        host: what of this machine to use.
        listeners: who is told how it goes.
        verify: hold the network against its own books, at every event and at the end.

    Raises:
        SimflError: bad input, or a device that cannot hold its part; what was simulated until then
            stays in the trace.
    """
    path, host, listeners = (
        out or Path(scenario.record.path),
        host or Host(),
        listeners or Listeners(),
    )
    device = host.device
    parts = build(scenario, data_dir, device=device)
    listeners.start(parts)
    with claimed(path):
        _simulate(parts, path, {}, host, listeners, verify=verify)
    _let_go(parts)
    return Trace(path)


def resume(
    path: Path,
    *,
    data_dir: Path | None = None,
    host: Host | None = None,
    listeners: Listeners | None = None,
) -> Trace:
    """Finish a run that was killed: what its trace or the store records is not computed again.

    The trace is written anew beside the old one and takes its place at the end; being killed once
    more loses nothing either.

    Raises:
        TraceError: not a trace.
        ScenarioError: the data set is not the one of the first part.
    """
    host, listeners = host or Host(), listeners or Listeners()
    old, beside = Trace(path), path.with_name(path.name + ".resumed")
    if old.complete:
        return old
    with claimed(path):
        if beside.exists():
            try:
                later = Trace(beside)
            except TraceError:
                beside.unlink()
            else:
                if len(later.raw("activities")) > len(old.raw("activities")):
                    beside.replace(path)
                    old = Trace(path)
        device = host.device
        scenario = loads(old.scenario, str(path), folder=old.folder)
        parts = build(scenario, data_dir, device=device)
        if parts.located.dataset.digest() != old.dataset["digest"]:
            raise ScenarioError(
                f"{path}: was run on {old.dataset['name']}, and {parts.located.dataset.name} as "
                "found now is other data; give the --data-dir of the first part"
            )
        if old.attributes.get("computed_by") != computed_by(parts):
            log.warning(
                "%s: simfl's learning code, torch or the processor changed since; all is computed "
                "anew",
                path,
            )
        listeners.start(parts)
        _simulate(parts, beside, old.recorded(), host, listeners)
        beside.replace(path)
    return Trace(path)


def plan(
    scenario: Scenario, data_dir: Path | None = None, *, located: Located | None = None
) -> tuple[Parts, Tape]:
    """One round by counting: the protocol, devices and network as in a run, and nothing trained.

    Args:
        scenario: what to play.
        data_dir: where data sets lie.
        located: the data set, where it is known already; its images are not looked at.
    """
    parts, tape = build(scenario, data_dir, located=located), Tape()
    env = simpy.Environment()
    first, rules = parts.algorithm.forecast, _count_rules(parts)

    def promise(verb: Callable[..., Any], *args: Any) -> Artifact[Any]:
        forecast = Forecast(verb, args, first, rules.get(verb.__name__))
        # what is sent after the first training is what a person reads off a plan
        tape.guessed |= forecast.guessed and verb.__name__ == "train"
        return forecast

    simulation = Simulation(env, parts, tape, promise, lambda *_, **__: None)
    simulation.play(rounds=1)
    _let_go(parts)
    return parts, tape


_left: list[int] = []


def _let_go(parts: Parts) -> None:
    """Have the collector look, once runs that are over have left much.

    Processes that never end hold data and models in circles: few objects with many bytes, for which
    it would not look by itself; and looking takes 0.2 s, too much for each of many short runs.
    """
    dataset = parts.located.dataset
    models_bytes = 4 * parts.problem.layout.size * len(parts.devices)
    _left.append(models_bytes + dataset.train_samples * prod(dataset.sample_shape))
    if sum(_left) > _LEFT_BYTES:
        _left.clear()
        gc.collect()


def _simulate(
    parts: Parts,
    path: Path,
    recorded: Mapping[Key, Manifest],
    host: Host,
    listeners: Listeners,
    *,
    verify: bool = False,
) -> None:
    disk, executor = host.open_store(parts), host.make_executor(parts)
    known = recorded if disk is None else {**disk.manifests(), **recorded}
    store = Store(lambda value: value.manifest(), known, disk, executor)
    promise = promiser(parts, store)
    try:
        env = simpy.Environment()
        writer = TraceWriter(path, node_rows(parts), attributes(parts))
        recording = Recording(env, parts, writer, promise, store, listeners.round)
        simulation = Simulation(
            env,
            parts,
            recording,
            promise,
            recording.observe,
            store.start,
            meters=recording.meters,
            verify=verify,
        )
        try:
            status = simulation.play(recording.ended)
            recording.finish(simulation.uses())
            store.flush()
        except BaseException as error:
            if isinstance(error, DeviceMemoryError):
                # a result: all that was until then stays
                recording.finish(simulation.uses())
            if isinstance(error, SimflError) and not isinstance(error, RecordError):
                # what the scenario asks cannot be done: there is nothing to resume
                writer.close(f"failed: {error}")
            else:
                writer.abandon()
            raise
        writer.close(f"complete: {status}")
    finally:
        executor.close()
        if disk is not None:
            disk.close()
    says = executor.says if isinstance(executor, Auto) else executor.name
    listeners.end(Outcome(computed=store.computed, found=store.found, executor=says))


def promiser(parts: Parts, store: Store) -> Callable[..., Promise[Any]]:
    """How a run's nodes promise: recipes by the name of everything that computes them."""
    algorithm, name, rules = parts.algorithm, computed_by(parts), _count_rules(parts)
    known: dict[str, tuple[str, bool, Any]] = {}

    def promise(verb: Callable[..., Any], *args: Any) -> Promise[Any]:
        word = verb.__name__
        if word not in known:
            known[word] = f"{word} {name}", word in algorithm.heavy, rules.get(word)
        named, heavy, counts = known[word]
        return store.promise(Recipe(verb, named, args, heavy, counts))

    return promise


def _count_rules(parts: Parts) -> dict[str, Callable[..., Manifest | None]]:
    """By verb, the rule for the manifest of its result."""
    algorithm = parts.algorithm
    return {word: partial(rule, algorithm) for word, rule in algorithm.counts.items()}


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """A trace for this process alone.

    Raises:
        TraceError: another process is writing that trace, or nobody can.
    """
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise TraceError(
            f"{path}: another process is writing it; wait for it, or give another place with --out"
        ) from None
    except OSError as error:
        raise TraceError(
            f"{path}: cannot write the trace: {error.strerror}; give another place with --out"
        ) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
