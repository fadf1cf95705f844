"""What is recorded while a run goes on, and what ends it; evaluations are joined late."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simfl
from simfl import simulation
from simfl.hosting import Host
from simfl.memo import Executor
from simfl.memo.executor import Job
from simfl.record.schema import COLUMNS
from simfl.recording import Progress
from simfl.running import Parts
from simfl.simulation import Listeners

PRUNEFL, RING = "smoke/prunefl_federated", "smoke/ring"


@dataclass
class Watched:
    """In line, with the order of what was begun and joined."""

    name: str = "watched"
    events: list[tuple[str, str]] = field(default_factory=list)

    def start(self, verb: Callable[..., Any], args: tuple[Any, ...]) -> Job:
        self.events.append(("start", verb.__name__))
        return WatchedJob(self.events, verb, args)

    def close(self) -> None:
        self.events.append(("close", ""))

    @property
    def waiting(self) -> list[int]:
        """Evaluations under way after each event."""
        steps = {("start", "score"): 1, ("join", "score"): -1}
        return list(np.cumsum([steps.get(event, 0) for event in self.events]))


@dataclass
class WatchedJob:
    events: list[tuple[str, str]]
    verb: Callable[..., Any]
    args: tuple[Any, ...]

    def result(self) -> Any:
        self.events.append(("join", self.verb.__name__))
        return self.verb(*self.args)


@dataclass(frozen=True, kw_only=True)
class Watching(Host):
    """This machine, with an executor that is watched."""

    executors: list[Watched] = field(default_factory=list)

    def make_executor(self, parts: Parts) -> Executor:
        self.executors.append(Watched())
        return self.executors[-1]


def played(
    name: str, out: Path, *changes: str, on_round: Callable[[Progress], None] | None = None
) -> tuple[simfl.Trace, Watched]:
    host = Watching()
    trace = simulation.run(
        simfl.load(name, changes), out=out, host=host, listeners=Listeners(round=on_round)
    )
    return trace, host.executors[0]


def starts_of(trace: simfl.Trace, whole: simfl.Trace) -> bool:
    """Whether every table is the beginning of that of a longer run, but for sums over the run."""
    pairs = [
        (trace.raw(table), whole.raw(table))
        for table in COLUMNS
        if table not in ("links", "energy")
    ]
    return all(one.tobytes() == other[: len(one)].tobytes() for one, other in pairs)


EVERY = ("protocol.rounds=30", "record.evaluate_every=1", "record.checkpoint_every=1000")


def test_evaluations_wait_beside_the_simulation_but_not_without_limit(tmp_path: Path) -> None:
    trace, watched = played(PRUNEFL, tmp_path / "run.h5", *EVERY)
    assert trace.scores["round"].tolist() == list(range(31))
    assert trace.scores["time_s"].is_monotonic_increasing
    waiting = watched.waiting
    assert max(waiting) == 9
    assert waiting[-1] == 0
    # the first model is kept, and its evaluation joined before that; while the next wait, later
    # rounds train
    first = watched.events.index(("join", "score"))
    second = watched.events.index(("join", "score"), first + 1)
    assert watched.events[:first].count(("start", "train")) == 0
    assert watched.events[:second].count(("start", "train")) >= 9 * 4
    assert watched.events[-1] == ("close", "")


def test_of_peers_a_round_of_evaluations_may_wait(tmp_path: Path) -> None:
    brief = ["learning.local.epochs=null", "learning.local.steps=1"]
    peers = ["platform.devices.pi4.count=11", "protocol.rounds=4"]
    trace, watched = played(RING, tmp_path / "run.h5", *brief, *peers, *EVERY[1:])
    assert len(trace.scores) == 12 * 5
    assert 12 < max(watched.waiting) <= 2 * 12 + 1
    curve = trace.curve
    assert curve["round"].tolist() == list(range(5))
    rows = trace.scores.groupby("round")["accuracy"].mean()
    assert curve["accuracy"].tolist() == pytest.approx(rows.tolist())


def test_a_stop_rule_looks_at_each_evaluation_before_the_next_round(tmp_path: Path) -> None:
    whole, _ = played(PRUNEFL, tmp_path / "whole.h5", *EVERY)
    accuracies = whole.scores["accuracy"].tolist()
    target = sorted(accuracies)[15]
    due = next(r for r in range(31) if r >= 2 and min(accuracies[r - 2 : r + 1]) >= target)
    assert 2 < due < 29
    seen: list[Progress] = []
    rule = [f"stop.accuracy={target!r}", "stop.consecutive=3"]
    trace, watched = played(PRUNEFL, tmp_path / "run.h5", *EVERY, *rule, on_round=seen.append)
    assert trace.status == f"complete: accuracy {target:g} in 3 evaluations in a row"
    assert trace.scores["round"].tolist() == list(range(due + 1))
    assert starts_of(trace, whole)
    assert max(watched.waiting) == 1
    assert [now.accuracy for now in seen] == accuracies[: due + 1]


def test_progress_tells_the_last_accuracy_that_is_known(tmp_path: Path) -> None:
    seen: list[Progress] = []
    trace, _ = played(PRUNEFL, tmp_path / "run.h5", *EVERY, on_round=seen.append)
    accuracies = trace.scores["accuracy"].tolist()
    assert [now.round for now in seen] == list(range(31))
    assert [now.accuracy for now in seen] == [accuracies[0]] * 9 + accuracies[1 : 31 - 8]


def test_a_checkpoint_is_preceded_by_all_that_led_to_it(tmp_path: Path) -> None:
    path, found = tmp_path / "run.h5", {}

    def look(now: Progress) -> None:
        # as a kill would leave it
        shutil.copy(path, tmp_path / "copy.h5")
        left = simfl.Trace(tmp_path / "copy.h5")
        found[now.round] = left.scores["round"].tolist(), left.activities["round"].max()

    played(PRUNEFL, path, *EVERY[:2], "record.checkpoint_every=4", on_round=look)
    for round, (scores, trained) in found.items():
        kept = round // 4 * 4
        assert scores == list(range(kept + 1))
        assert trained == kept


@pytest.mark.parametrize("name", [PRUNEFL, RING])
def test_the_time_limit_ends_a_run_with_every_evaluation_that_was_due(
    tmp_path: Path, name: str
) -> None:
    rounds = EVERY if name == PRUNEFL else ("protocol.rounds=4", *EVERY[1:])
    whole, _ = played(name, tmp_path / "whole.h5", *rounds)
    limit = float(whole.scores["time_s"].median()) + 1e-4
    trace, _ = played(name, tmp_path / "run.h5", *rounds, f"stop.time={limit} s")
    assert trace.status.startswith("complete: ")
    assert "passed" in trace.status
    assert len(trace.scores) == (whole.scores["time_s"] <= limit).sum() > 5
    assert trace.activities["end_s"].max() <= limit
    assert starts_of(trace, whole)


def test_the_budget_of_bytes_ends_a_run_with_the_message_that_reaches_it(tmp_path: Path) -> None:
    whole, _ = played(PRUNEFL, tmp_path / "whole.h5", *EVERY)
    spent = whole.transfers["nbytes"].cumsum()
    budget = int(spent.iloc[100])
    trace, _ = played(PRUNEFL, tmp_path / "run.h5", *EVERY, f"stop.bytes={budget} B")
    # and with what arrives in the same instant
    assert len(trace.transfers) == (whole.transfers["end_s"] <= trace.transfers["end_s"][100]).sum()
    assert len(trace.transfers) < 101 + 4
    assert trace.status.endswith(" sent")
    assert starts_of(trace, whole)
    last = trace.scores.iloc[-1]
    assert 0 < last["down_bytes"] + last["up_bytes"] <= budget
