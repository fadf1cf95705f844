"""Searches: seeded, resumed as if they had not been killed, bounds and failures apart."""

import sys
from importlib.util import find_spec
from math import inf, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import simfl
from simfl import optimization
from simfl.errors import ScenarioError, StoreError, TraceError
from simfl.optimization import Goal, bound
from simfl.simulation import claimed
from simfl.tasks import Task, trace_of

NAME = "smoke/fedavg_access_links"
BRIEF = [
    "learning.model={name: simple_cnn}",
    "learning.local.epochs=null",
    "learning.local.steps=1",
    "protocol.rounds=2",
    "stop={}",
]
UP = "platform.network.up=1 Mbit/s..20 Mbit/s"
ROUNDS = "protocol.rounds=1..3"
needs_optuna = pytest.mark.skipif(
    find_spec("optuna") is None, reason="Optuna is not installed: pip install 'simfl[optimize]'"
)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short scenario's file."""
    path = tmp_path_factory.mktemp("scenario") / "brief.yaml"
    path.write_text(simfl.load(NAME, BRIEF).as_yaml())
    return path


def searched(scenario: Path, folder: Path, *space: str, **options: Any) -> pd.DataFrame:
    options = {"minimize": "time", "executor": "inline", "trials": 4} | options
    return simfl.optimize(scenario, *space, folder=folder, **options)


# the search ----------------------------------------------------------------------------------


@needs_optuna
def test_the_same_seed_tries_the_same_and_finds_the_best(scenario: Path, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    found = searched(scenario, tmp_path / "a", UP, ROUNDS, on_point=seen.append)
    assert len(found) == len(seen) == 4
    assert found["best"].tolist() == (found["time_s"] == found["time_s"].min()).tolist()
    assert found["protocol.rounds"].isin([1, 2, 3]).all()
    assert found["rounds"].tolist() == found["protocol.rounds"].tolist()
    for text, path in zip(found["platform.network.up"], found["trace"], strict=True):
        assert 1 <= float(text.removesuffix(" Mbit/s")) <= 20
        assert simfl.Trace(path).complete
    figures = found.drop(columns="trace")
    again = searched(scenario, tmp_path / "b", UP, ROUNDS)
    assert again.drop(columns="trace").equals(figures)
    other = searched(scenario, tmp_path / "c", UP, ROUNDS, seed=1)
    assert not other["platform.network.up"].equals(found["platform.network.up"])


@needs_optuna
def test_a_killed_search_goes_on_as_if_it_had_not_been(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # beyond the ten first trials, which are drawn at random
    space = "platform.network.up=1 Mbit/s..20 Mbit/s log", "platform.network.down=1..9 Mbit/s"
    whole = searched(scenario, tmp_path / "whole", *space, trials=13)
    played: list[int] = []

    def play(task: Task, *where: Any) -> simfl.Trace:
        played.append(task.number)
        if len(played) == 12:
            raise KeyboardInterrupt
        return trace_of(task, *where)

    monkeypatch.setattr(optimization, "trace_of", play)
    with pytest.raises(KeyboardInterrupt):
        searched(scenario, tmp_path / "cut", *space, trials=13)
    found = searched(scenario, tmp_path / "cut", *space, trials=13)
    # the one that was cut is tried again, and none that had ended
    assert played == [*range(12), 11, 12]
    assert found.drop(columns="trace").equals(whole.drop(columns="trace"))
    # what is done is done; more trials go on from there
    del played[:]
    assert searched(scenario, tmp_path / "cut", *space, trials=13).equals(found)
    assert searched(scenario, tmp_path / "cut", *space, trials=14)[:13].equals(found)
    assert played == [13]


@needs_optuna
def test_bounds_and_accuracies(scenario: Path, tmp_path: Path) -> None:
    two = simfl.run(simfl.load(scenario), out=tmp_path / "two.h5", executor="inline")
    limit = int(two.transfers["nbytes"].sum())
    found = searched(
        *(scenario, tmp_path / "a", UP, "protocol.rounds=1,2,3"),
        **{"maximize": "accuracy", "minimize": None, "at_most": [f"bytes={limit} B"]},
    )
    held = found["down_bytes"] + found["up_bytes"] <= limit
    assert (held == (found["protocol.rounds"] <= 2)).all()
    assert held.any()
    assert not held.all()
    [best] = found.index[found["best"]]
    assert held[best]
    assert found["accuracy"][best] == found["accuracy"][held].max()
    never = searched(scenario, tmp_path / "b", UP, "stop.accuracy=1.0", minimize="time_to_accuracy")
    assert not never["best"].any()
    assert (never["target_s"] == inf).all()
    assert (never["target_bytes"] == inf).all()


@needs_optuna
def test_what_fails_is_told_and_never_the_best(scenario: Path, tmp_path: Path) -> None:
    devices = "platform.devices.pi4.model=pi4,pi6"
    found = searched(scenario, tmp_path / "a", devices, trials=5)
    failed = found["status"].str.startswith("failed: ")
    assert failed.any()
    assert not failed.all()
    assert (failed == (found["platform.devices.pi4.model"] == "pi6")).all()
    assert not (found["best"] & failed).any()


@needs_optuna
def test_a_machine_that_fails_is_no_result(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> simfl.Trace:
        raise StoreError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(optimization, "trace_of", full)
        with pytest.raises(StoreError):
            searched(scenario, tmp_path, UP)
    assert len(searched(scenario, tmp_path, UP, trials=1)) == 1


# goals ---------------------------------------------------------------------------------------


ROW = {
    "time_s": 10.0,
    "target_s": 8.0,
    "target_bytes": 300.0,
    "target_joules": nan,
    "down_bytes": 200,
    "up_bytes": 250,
    "joules": 5.0,
    "accuracy": 0.9,
    "status": "complete: 5 rounds",
    "trace": "x.h5",
}


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("time_to_accuracy", 8.0),
        ("bytes_to_accuracy", 300.0),
        ("time", 10.0),
        ("bytes", 450),
        ("joules", 5.0),
        ("accuracy", 0.9),
    ],
)
def test_figures(figure: str, value: float) -> None:
    assert Goal(figure=figure).value(ROW) == value


def test_bounds() -> None:
    goal = Goal(figure="time", bounds=[bound("accuracy=0.8", -1), bound("bytes=400 B", 1)])
    assert goal.violations(ROW) == pytest.approx([-0.1, 50])
    assert not goal.reached(ROW)
    assert Goal(figure="time", bounds=[bound("bytes=450 B", 1)]).reached(ROW)
    assert not Goal(figure="time_to_accuracy").reached(ROW | {"target_s": inf})
    bad = ROW | {"status": "failed: out of memory"}
    assert goal.value(bad) == inf
    assert Goal(figure="accuracy", sign=-1).value(bad) == -inf
    assert goal.violations(bad) == [inf, inf]
    with pytest.raises(ScenarioError, match=r"joules_to_accuracy: not known, see x\.h5"):
        Goal(figure="joules_to_accuracy").value(ROW)


def test_bytes_to_accuracy(scenario: Path, tmp_path: Path) -> None:
    trace = simfl.run(simfl.load(scenario), out=tmp_path / "a.h5", executor="inline")
    curve = trace.curve
    first = curve.iloc[0]
    assert trace.bytes_to_accuracy(first["accuracy"]) == first["down_bytes"] + first["up_bytes"]
    assert trace.bytes_to_accuracy(1.1) == inf
    spent = trace.transfers["nbytes"].sum()
    assert trace.bytes_to_accuracy(0.0, len(curve)) == spent


# mistakes ------------------------------------------------------------------------------------


@needs_optuna
@pytest.mark.parametrize(
    ("space", "options", "told"),
    [
        ([UP], {"minimize": "tim"}, "tim: no such figure; did you mean 'time'?"),
        ([UP], {"at_most": ["tim=2 h"]}, "tim=2 h: no such figure"),
        ([UP], {"at_most": ["time=2"]}, "time=2: '2' has no unit"),
        ([UP], {"minimize": "time_to_accuracy"}, "no accuracy to reach; add stop.accuracy=0.9"),
        ([UP], {"at_most": ["time_to_accuracy=2 h"]}, "no accuracy to reach"),
        ([UP], {"maximize": "accuracy"}, "give one of --minimize and --maximize"),
        ([UP], {"minimize": None}, "give one of --minimize and --maximize"),
        ([UP], {"trials": 0}, "--trials 0: give 1 or more"),
        ([UP, UP], {}, "platform.network.up: given twice"),
        (["seed=1"], {}, "nothing to search"),
        (["protocol.rounds=0..3"], {}, "protocol.rounds: 0 is out of range"),
        (["platform.network.up=1 s..3 s"], {}, "'s' is no unit of rate"),
    ],
)
def test_mistakes_are_told_before_anything_is_run(
    scenario: Path, tmp_path: Path, space: list[str], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ScenarioError) as error:
        searched(scenario, tmp_path / "out", *space, **options)
    assert told in str(error.value)
    assert not (tmp_path / "out").exists()


@needs_optuna
def test_a_folder_holds_one_search(scenario: Path, tmp_path: Path) -> None:
    searched(scenario, tmp_path, UP, trials=1)
    for space, options in (
        ([UP], {"seed": 1}),
        ([UP, "protocol.rounds=1..2"], {}),
        ([UP], {"at_most": ["time=2 h"]}),
    ):
        with pytest.raises(ScenarioError, match="holds another search for the best time"):
            searched(scenario, tmp_path, *space, trials=1, **options)
    with claimed(tmp_path / optimization.STUDY), pytest.raises(TraceError, match="another process"):
        searched(scenario, tmp_path, UP, trials=1)


def test_without_optuna(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ScenarioError, match=r"pip install 'simfl\[optimize\]'"):
        searched(scenario, tmp_path / "out", UP)
    assert not (tmp_path / "out").exists()
