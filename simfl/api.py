"""simfl from Python: the same as the command line, with objects in and out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simfl import resources, simulation
from simfl.errors import ScenarioError, did_you_mean
from simfl.hosting import ExecutorName, Host, cores, store_beside
from simfl.record import Trace
from simfl.running import Parts, Tape
from simfl.scenario import Scenario
from simfl.scenario import load as load_file
from simfl.simulation import Listeners


def load(name: str | Path, overrides: Iterable[str] = ()) -> Scenario:
    """Read a scenario: a YAML file, or the name of a packaged one.

    Args:
        name: a path, or a name from ``simfl list scenarios``.
        overrides: ``key.path=value`` texts.

    Raises:
        ScenarioError: no such scenario, or a wrong one.
    """
    path = resources.find("scenarios", str(name))
    if path is None:
        mend = did_you_mean(str(name), resources.names("scenarios"))
        raise ScenarioError(f"{name}: no such scenario; {mend}")
    return load_file(path, overrides)


def run(
    scenario: Scenario,
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    listeners: Listeners | None = None,
) -> Trace:
    """Run a scenario to its end.

    Args:
        scenario: what to run.
        data_dir: where data sets lie; left out, SIMFL_DATA, else the user's cache.
        out: the trace's path, instead of the scenario's.
        store: folder of what was computed before; True, ``.simfl`` beside the trace; False, none.
        executor: ``auto``, ``inline``, ``batched``, ``pool`` or ``cuda``.
        workers: processes of a pool; left out, as many as there are cores.
        listeners: who is told how it goes.

    Raises:
        SimflError: see `simfl.simulation.run`.
    """
    path = Path(out) if out else Path(scenario.record.path)
    return simulation.run(
        scenario,
        data_dir=_path(data_dir),
        out=path,
        host=make_host(path, store, executor, workers),
        listeners=listeners,
    )


def resume(
    trace: str | Path,
    *,
    data_dir: str | Path | None = None,
    store: str | Path | bool = True,
    executor: str = "auto",
    workers: int | None = None,
    listeners: Listeners | None = None,
) -> Trace:
    """Finish a run that was killed; arguments as of `run`.

    Raises:
        SimflError: see `simfl.simulation.resume`.
    """
    host = make_host(Path(trace), store, executor, workers)
    return simulation.resume(Path(trace), data_dir=_path(data_dir), host=host, listeners=listeners)


def plan(scenario: Scenario, *, data_dir: str | Path | None = None) -> tuple[Parts, Tape]:
    """One round by counting, nothing trained; see `simfl.simulation.plan`."""
    return simulation.plan(scenario, _path(data_dir))


def make_host(trace: Path, store: str | Path | bool, executor: str, workers: int | None) -> Host:
    """What of this machine a run may use; arguments as of `run`.

    Raises:
        ScenarioError: no such executor, or no worker.
    """
    if executor not in list(ExecutorName):
        raise ScenarioError(f"--executor {executor}: {did_you_mean(executor, ExecutorName)}")
    if workers is not None and workers < 1:
        raise ScenarioError(f"--workers {workers}: give 1 or more")
    folder = store_beside(trace) if store is True else Path(store) if store else None
    return Host(store=folder, executor=ExecutorName(executor), workers=workers or cores())


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
