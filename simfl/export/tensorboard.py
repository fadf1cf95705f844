"""A trace as TensorBoard's scalars, over rounds and over simulated seconds.

The step of a scalar is the round, its wall time the simulated second: TensorBoard's axis *Relative*
is simulated time, and its *Wall* begins at the epoch, 1970.

    accuracy, loss, nonzero, joules    of each evaluation; joules where they are known
    bytes/down, bytes/up               sent until then
    simulated_s                        when it was, to be seen over rounds
    accuracy/NODE, loss/NODE           of each peer, where there is no server
    round/compute_s                    of each round, its slowest client's or peer's computing
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import pandas as pd

from simfl.errors import TraceError
from simfl.record import Trace
from simfl.record.summary import slowest_compute

_TAGS: Final = {
    "accuracy": "accuracy",
    "loss": "loss",
    "nonzero": "nonzero",
    "joules": "joules",
    "down_bytes": "bytes/down",
    "up_bytes": "bytes/up",
    "time_s": "simulated_s",
}


class Writer(Protocol):
    """Who takes scalars: a ``SummaryWriter`` of PyTorch or tensorboardX, or what is like it."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, walltime: float) -> Any:
        """Take one scalar."""


class Scalar(NamedTuple):
    """One point of one curve; ``time_s`` is simulated."""

    tag: str
    value: float
    round: int
    time_s: float


def scalars(trace: Trace) -> Iterator[Scalar]:
    """Every point that a trace has, curve by curve; what is not known (nan) is left out."""
    points = _points(trace)
    return (point for point in points if isfinite(point.value))


def write(trace: Trace, writer: Writer) -> int:
    """Hand a trace's scalars to a writer, which stays open; how many there were."""
    count = 0
    for count, point in enumerate(scalars(trace), start=1):  # noqa: B007
        writer.add_scalar(point.tag, point.value, point.round, point.time_s)
    return count


def export(trace: Trace, folder: Path) -> int:
    """Write a trace into a folder that ``tensorboard --logdir`` reads; how many scalars.

    Raises:
        TraceError: the package tensorboard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise TraceError(
            "TensorBoard's files need the package tensorboard; pip install 'simfl[tensorboard]'"
        )
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        return write(trace, writer)


def _points(trace: Trace) -> Iterator[Scalar]:
    curve = trace.curve
    for column, tag in _TAGS.items():
        yield from _curve(tag, curve, column)
    if trace.peers:
        for node, rows in trace.scores.groupby("node", sort=False):
            for column in ("accuracy", "loss"):
                yield from _curve(f"{column}/{node}", rows, column)
    ends_s = trace.rounds.set_index("round")["end_s"]
    slowest = slowest_compute(trace.activities, trace.rounds)
    for number, seconds in zip(slowest.index.tolist(), slowest.tolist(), strict=True):
        if number in ends_s.index:
            yield Scalar("round/compute_s", seconds, number, float(ends_s.loc[number]))


def _curve(tag: str, rows: pd.DataFrame, column: str) -> Iterator[Scalar]:
    for value, number, time_s in zip(rows[column], rows["round"], rows["time_s"], strict=True):
        yield Scalar(tag, float(value), int(number), float(time_s))
