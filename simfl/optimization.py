"""A search for the best point of a scenario, with Optuna's tree-structured Parzen estimator.

Trial n depends on the seed and on the trials before it, and on nothing else: a search that was
killed goes on as if it had not been. What trials learn lies in one store, so that one which
differs from an earlier one in time only trains nothing.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; Akiba et al. 2019,
"Optuna".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simfl.errors import DataError, RecordError, ScenarioError, SimflError, did_you_mean
from simfl.hosting import Host
from simfl.keys import seed_of
from simfl.record import Trace
from simfl.retiming import Point
from simfl.scenario import Scenario, load
from simfl.search_space import Choice, Dimension, Range
from simfl.simulation import claimed
from simfl.tasks import FAILED, Names, Row, Task, failed, row_of, trace_of
from simfl.units import parse

STUDY: Final = "optuna.sqlite"
"""Optuna's own file, beside the traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """What can be minimized or bounded.

    Attributes:
        of: from a row.
        unit: a dimension of `simfl.units`; empty for a share.
        to_target: whether it asks for ``stop.accuracy``.
    """

    of: Callable[[Mapping[str, Any]], float]
    unit: str = ""
    to_target: bool = False


FIGURES: Final = {
    "time_to_accuracy": _Figure(of=lambda row: row["target_s"], unit="time", to_target=True),
    "bytes_to_accuracy": _Figure(of=lambda row: row["target_bytes"], unit="size", to_target=True),
    "joules_to_accuracy": _Figure(
        of=lambda row: row["target_joules"], unit="energy", to_target=True
    ),
    "time": _Figure(of=lambda row: row["time_s"], unit="time"),
    "bytes": _Figure(of=lambda row: row["down_bytes"] + row["up_bytes"], unit="size"),
    "joules": _Figure(of=lambda row: row["joules"], unit="energy"),
    "accuracy": _Figure(of=lambda row: row["accuracy"]),
}
"""By name. ``accuracy`` is that of the last evaluation; bytes are those of both directions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is searched for.

    Attributes:
        figure: a key of `FIGURES`.
        sign: 1 to minimize it, -1 to maximize it.
        bounds: figure, sign (1 at most, -1 at least) and limit, in SI base units.
    """

    figure: str
    sign: int = 1
    bounds: Sequence[tuple[str, int, float]] = ()

    def __post_init__(self) -> None:
        """Refuse what is no figure.

        Raises:
            ScenarioError: that is so.
        """
        for name in (self.figure, *(name for name, _, _ in self.bounds)):
            if name not in FIGURES:
                raise ScenarioError(f"{name}: no such figure; {did_you_mean(name, FIGURES)}")

    @property
    def to_target(self) -> bool:
        """Whether an accuracy to reach is needed."""
        return any(FIGURES[n].to_target for n in (self.figure, *(b[0] for b in self.bounds)))

    def value(self, row: Row) -> float:
        """The figure; of a point that failed, the worst.

        Raises:
            ScenarioError: nobody knows it.
        """
        return self.sign * inf if _has_failed(row) else _known(self.figure, row)

    def violations(self, row: Row) -> list[float]:
        """By how much each bound is missed; 0 or less where it is held."""
        if _has_failed(row):
            return [inf for _ in self.bounds]
        return [sign * (_known(name, row) - limit) for name, sign, limit in self.bounds]

    def reached(self, row: Row) -> bool:
        """Whether the point ended, has the figure and holds all bounds."""
        return isfinite(self.value(row)) and all(missed <= 0 for missed in self.violations(row))


def bound(text: str, sign: int) -> tuple[str, int, float]:
    """Read ``figure=limit``, such as ``accuracy=0.9`` or ``time=2 h``.

    >>> bound("time=2 h", 1)
    ('time', 1, 7200.0)

    Raises:
        ScenarioError: no figure, or no limit of it.
    """
    name, _, limit = text.partition("=")
    if name not in FIGURES:
        raise ScenarioError(f"{text}: no such figure; {did_you_mean(name, FIGURES)}")
    unit = FIGURES[name].unit
    try:
        return name, sign, parse(limit, unit) if unit else float(limit)
    except ValueError as error:
        raise ScenarioError(f"{text}: {error}") from error


def optimize(
    source: Path,
    space: Sequence[Dimension],
    goal: Goal,
    folder: Path,
    *,
    trials: int,
    seed: int = 0,
    data_dir: Path | None = None,
    host: Host,
    on_point: Callable[[Row], None] = lambda _: None,
) -> pd.DataFrame:
    """Search; what an earlier call of the same search has tried is not tried again.

    Args:
        source: the scenario's file.
        space: what to try.
        goal: what is best.
        folder: where the traces and Optuna's study go.
        trials: how many in all, those of earlier calls included.
        seed: of what is tried, not of the scenario.
        data_dir: where data sets lie.
        host: store and executor.
        on_point: called with each row of this call.

    Returns:
        One row per trial, in order: the changed keys, figures as of `simfl.grid.sweep`,
        ``target_bytes``, ``status``, ``trace``, and ``best``, true for the best trial that
        holds all bounds; for none, where none does or none gets to the accuracy.

    Raises:
        ScenarioError: a space or goal that does not fit, or Optuna is not installed.
        RecordError: it is the machine that failed: call again.
        SimflError: there is no data.
    """
    optuna = _import_optuna()
    _valid(source, space, goal)
    text, names = source.read_text(encoding="utf-8"), Names()
    told = json.dumps([text, *map(repr, (space, goal, seed))])
    with claimed(folder / STUDY):
        study = optuna.create_study(
            storage=f"sqlite:///{(folder / STUDY).resolve()}",
            study_name=goal.figure,
            direction="minimize" if goal.sign > 0 else "maximize",
            load_if_exists=True,
        )
        if study.user_attrs.setdefault("search", told) != told:
            raise ScenarioError(
                f"{folder}: holds another search for the best {goal.figure} (scenario, space, "
                "bounds or seed differ); give another --out"
            )
        study.set_user_attr("search", told)
        state = optuna.trial.TrialState
        for killed in study.get_trials(states=[state.RUNNING]):
            study.tell(killed.number, state=state.FAIL)
        for number in range(len(study.get_trials(states=[state.COMPLETE])), trials):
            study.sampler = optuna.samplers.TPESampler(seed=seed_of(seed, "trial", number) % 2**32)
            trial = study.ask({one.key: _distribution(optuna, one) for one in _free(space)})
            point = _point(space, trial.params)
            scenario = load(source, point)
            task = Task(
                number=number,
                text=text,
                source=str(source),
                folder=source.parent,
                point=point,
                out=folder / f"{names.name(scenario, point)}.h5",
            )
            row = _play(task, data_dir, host)
            for at, missed in enumerate(goal.violations(row)):
                trial.set_constraint(str(at), missed)
            trial.set_user_attr("row", row)
            study.tell(trial, goal.value(row))
            on_point(row)
        rows = [t.user_attrs["row"] for t in study.get_trials(states=[state.COMPLETE])]
    return _table(rows, goal)


def _table(rows: list[Row], goal: Goal) -> pd.DataFrame:
    good = [number for number, row in enumerate(rows) if goal.reached(row)]
    best = min(good, key=lambda number: goal.sign * goal.value(rows[number]), default=None)
    return pd.DataFrame([row | {"best": number == best} for number, row in enumerate(rows)])


def _play(task: Task, data_dir: Path | None, host: Host) -> Row:
    try:
        trace = trace_of(task, data_dir, host)
    except (RecordError, DataError):
        # another point would fare no better
        raise
    except SimflError as error:
        return failed(task, str(error))
    row = row_of(task, trace)
    told = {name: row.pop(name) for name in ("status", "trace")}
    return row | {"target_bytes": _bytes_to_target(task.scenario, trace)} | told


def _bytes_to_target(scenario: Scenario, trace: Trace) -> float:
    stop = scenario.stop
    return (
        nan if stop.accuracy is None else trace.bytes_to_accuracy(stop.accuracy, stop.consecutive)
    )


def _valid(source: Path, space: Sequence[Dimension], goal: Goal) -> None:
    """Mistakes are told before anything is run: each end and choice, beside the first of others."""
    keys = [one.key for one in space]
    for key in keys:
        if keys.count(key) > 1:
            raise ScenarioError(f"{key}: given twice; write all its values as one")
    if not _free(space):
        raise ScenarioError("nothing to search: give key=low..high or key=a,b")
    firsts = [one.ends()[0] for one in space]
    for at, one in enumerate(space):
        for end in one.ends():
            scenario = load(source, [*firsts[:at], end, *firsts[at + 1 :]])
            if goal.to_target and scenario.stop.accuracy is None:
                raise ScenarioError(
                    f"{goal.figure}: no accuracy to reach; add stop.accuracy=0.9 or the like"
                )


def _free(space: Sequence[Dimension]) -> list[Dimension]:
    return [one for one in space if isinstance(one, Range) or len(one.choices) > 1]


def _distribution(optuna: Any, one: Dimension) -> Any:
    if isinstance(one, Choice):
        return optuna.distributions.CategoricalDistribution([c.text for c in one.choices])
    if one.whole:
        return optuna.distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)


def _point(space: Sequence[Dimension], params: Mapping[str, Any]) -> Point:
    """The changes of a trial, in the order of the space."""
    return tuple(
        one.at(params[one.key])
        if isinstance(one, Range)
        else next(c for c in one.choices if params.get(one.key, c.text) == c.text)
        for one in space
    )


def _known(name: str, row: Row) -> float:
    value = float(FIGURES[name].of(row))
    if isnan(value):
        raise ScenarioError(f"{name}: not known, see {row['trace']}; a device without watts?")
    return value


def _has_failed(row: Row) -> bool:
    return str(row["status"]).startswith(FAILED)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ScenarioError("Optuna is not installed; pip install 'simfl[optimize]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
