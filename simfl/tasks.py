"""One point of a study as a task: it is run, resumed or found complete, and becomes a row.

A task carries the scenario's text, so that it can be done on another machine too.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simfl.errors import SimflError, StoreError, UnseenStoreError
from simfl.hosting import Host
from simfl.keys import Key, key_of
from simfl.record import Trace
from simfl.record.repeats import SHARES, Spread, lacking
from simfl.record.summary import summarise
from simfl.repeating import repeated
from simfl.retiming import Point, changed
from simfl.scenario import Scenario, loads
from simfl.scenario.override import Override
from simfl.simulation import resume, run

log = logging.getLogger(__name__)

Row = dict[str, Any]
FAILED: Final = "failed: "
"""How the status of a point that could not be run begins."""
_LONGEST: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One point.

    Attributes:
        number: its place in the study.
        text: the scenario's file.
        source: what errors call that.
        folder: what the paths in it are relative to.
        point: changes to it.
        out: where its trace goes.
    """

    number: int
    text: str
    source: str
    folder: Path
    point: Point
    out: Path

    @property
    def scenario(self) -> Scenario:
        """The scenario at this point.

        Raises:
            ScenarioError: it is not valid.
        """
        return loads(self.text, self.source, self.point, folder=self.folder)


def play(task: Task, data_dir: Path | None, host: Host) -> Row:
    """Do one task, whatever becomes of it.

    Returns:
        The changed keys, what `figures` tells, ``status`` and ``trace``; of one that failed,
        ``status`` says why.

    Raises:
        StoreError: the store is gone or full: no other task would fare better.
    """
    try:
        trace = trace_of(task, data_dir, host)
    except UnseenStoreError as error:
        # this machine's fault: another may see it
        return failed(task, str(error))
    except StoreError:
        raise
    except SimflError as error:
        return failed(task, str(error))
    return row_of(task, trace)


def row_of(task: Task, trace: Trace) -> Row:
    """The row of a task whose trace is complete."""
    told = {"status": trace.status, "trace": str(task.out)}
    return changed(task.point) | figures(trace) | told


def failed(task: Task, reason: str) -> Row:
    """The row of a task that could not be done."""
    return changed(task.point) | {"status": FAILED + reason, "trace": str(task.out)}


def figures(trace: Trace) -> dict[str, float]:
    """What a run came to, as the columns of a study; with repeats, their percentiles too."""
    found = summarise(trace)
    row: dict[str, float] = {
        "time_s": found.time_s,
        "target_s": found.target_s,
        "rounds": found.rounds,
        "accuracy": found.accuracy,
        "down_bytes": found.down_bytes,
        "up_bytes": found.up_bytes,
        "joules": found.joules,
        "target_joules": found.target_joules,
    }
    for name, spread in found.repeats.items():
        row |= _columns(name, spread)
    return row


def _columns(figure: str, spread: Spread) -> dict[str, float]:
    """The percentiles of a figure over the repeats: ``time_p50_s`` and its like."""
    stem = figure.removesuffix("_s")
    unit = figure.removeprefix(stem)
    columns: dict[str, float] = {
        f"{stem}_p{share * 100:02.0f}{unit}": value
        for share, value in zip(SHARES, spread.percentiles, strict=True)
    }
    return columns | ({"never": spread.never} if figure == "target_s" else {})


def standing(task: Task) -> Trace | None:
    """The task's trace, where all of it stands already; nothing has to be run then."""
    old = _old(task, task.scenario)
    return old if old is not None and old.complete and not lacking(old) else None


def trace_of(task: Task, data_dir: Path | None, host: Host) -> Trace:
    """The point's trace with its repeats: as it stands, resumed, or run now.

    Raises:
        SimflError: it cannot be run.
    """
    scenario = task.scenario
    if _old(task, scenario) is not None:
        return repeated(resume(task.out, data_dir=data_dir, host=host), host)
    return repeated(run(scenario, data_dir=data_dir, out=task.out, host=host), host)


def _old(task: Task, scenario: Scenario) -> Trace | None:
    """A trace of this scenario that can be gone on with."""
    if not task.out.exists():
        return None
    try:
        old = Trace(task.out)
    except SimflError:
        log.warning("%s: not a whole trace; run anew", task.out)
        return None
    same = old.scenario == scenario.as_yaml()
    return old if same and not old.status.startswith("failed") else None


class Names:
    """File names that say what differs, the same whatever else a study holds."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}

    def name(self, scenario: Scenario, point: Point) -> str:
        """Of one point; another scenario never gets the same."""
        name = name_of(scenario, point)
        if self._named.setdefault(name, scenario.as_yaml()) != scenario.as_yaml():
            # values that differ in what a file name does not tell
            name += f",{_digest(point)}"
        return name


def name_of(scenario: Scenario, point: Point) -> str:
    """What a point is called, by its changes; characters that a file system may refuse are `_`."""
    texts = [f"{_short(one, point)}={one.text.partition('=')[2]}" for one in point]
    name = re.sub(r"[^A-Za-z0-9.=,+-]+", "_", ",".join([scenario.name, *texts]))
    return name if len(name) <= _LONGEST else f"{scenario.name},{_digest(point)}"


def learns(scenario: Scenario) -> Key:
    """Alike for points that may find each other's training."""
    learning = scenario.written()["learning"]
    return key_of(repr(learning), str(scenario.seed), str(scenario.platform.clients))


def _digest(point: Point) -> Key:
    return key_of(*(one.text for one in point))


def _short(override: Override, point: Point) -> str:
    last = override.path[-1]
    alone = sum(other.path[-1] == last for other in point) == 1
    return last if alone else ".".join(override.path)
