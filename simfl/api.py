"""simfl from Python: the same as the command line, with objects in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from simfl import resources, simulation
from simfl.errors import ScenarioError, did_you_mean
from simfl.record import Trace
from simfl.running import Parts, Progress, Tape
from simfl.scenario import Scenario
from simfl.scenario import load as load_file


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
    on_start: Callable[[Parts], None] | None = None,
    on_round: Callable[[Progress], None] | None = None,
) -> Trace:
    """Run a scenario to its end; see `simfl.simulation.run`."""
    return simulation.run(
        scenario, data_dir=_path(data_dir), out=_path(out), on_start=on_start, on_round=on_round
    )


def resume(
    trace: str | Path,
    *,
    data_dir: str | Path | None = None,
    on_start: Callable[[Parts], None] | None = None,
    on_round: Callable[[Progress], None] | None = None,
) -> Trace:
    """Finish a run that was killed; see `simfl.simulation.resume`."""
    return simulation.resume(
        Path(trace), data_dir=_path(data_dir), on_start=on_start, on_round=on_round
    )


def plan(scenario: Scenario, *, data_dir: str | Path | None = None) -> tuple[Parts, Tape]:
    """One round by counting, nothing trained; see `simfl.simulation.plan`."""
    return simulation.plan(scenario, _path(data_dir))


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
