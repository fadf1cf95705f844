"""Predicted against measured: whole networks on this machine, and a device file's word on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from statistics import median
from typing import Any, Final

from simfl.cost.device import Device
from simfl.errors import CostError
from simfl.profile.networks import Subject, time_steps
from simfl.work import Passes

PASSES: Final = {"train": Passes.TRAIN, "inference": Passes.FORWARD}
_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One network, one batch, one sort of step.

    Attributes:
        network: as it was asked for.
        batch: samples of the step.
        sort: ``train`` or ``inference``.
        measured_s: the median of some rounds.
        predicted_s: the device file's.
        noise: largest over smallest of the rounds, less 1.
    """

    network: str
    batch: int
    sort: str
    measured_s: float
    predicted_s: float
    noise: float

    @property
    def error(self) -> float:
        """Of the prediction, as a share of what was measured."""
        return self.predicted_s / self.measured_s - 1


def check(
    device: Device,
    subjects: Sequence[Subject],
    batches: Sequence[int],
    *,
    where: str = "cpu",
    progress: Callable[[float, str], None] = lambda _share, _text: None,
) -> list[Point]:
    """Measure all networks at all batches, in rounds and in random order, and predict them.

    Raises:
        CostError: a network does not train with a batch, or the device lacks a figure.
    """
    points = list(product(subjects, batches))
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for turn in range(_ROUNDS):
        order = Random(turn).sample(points, len(points))
        for i, (subject, batch) in enumerate(order):
            share = (turn + i / len(points)) / _ROUNDS
            progress(share, f"{subject.name}, batch {batch}")
            found.setdefault((subject.name, batch), []).append(time_steps(subject, batch, where))
    progress(1.0, "")
    return [
        _point(device, subject, batch, sort, found[subject.name, batch])
        for sort in PASSES
        for subject, batch in points
    ]


def _point(
    device: Device, subject: Subject, batch: int, sort: str, rounds: Sequence[Mapping[str, Any]]
) -> Point:
    seconds = [one[sort]["s"] for one in rounds]
    return Point(
        network=subject.name,
        batch=batch,
        sort=sort,
        measured_s=median(seconds),
        predicted_s=device.seconds(subject.workload(batch, PASSES[sort])),
        noise=max(seconds) / min(seconds) - 1,
    )


def anchors_of(device: Device, subjects: Iterable[Subject], found: Any) -> list[dict[str, Any]]:
    """What whole networks, measured on the board, say of the kernels' figures.

    Args:
        device: without anchors.
        subjects: the networks, to be counted.
        found: of `simfl.profile.bench`, with ``modules``.

    Raises:
        CostError: a network was not measured.
    """
    anchors = []
    for subject in subjects:
        entries = [e for e in found["modules"] if e["module"] == subject.name]
        if not entries:
            raise CostError(
                f"{subject.name} was not measured; on the board: --module {subject.name} "
                "--input SHAPE --batches 2,64"
            )
        for sort, passes in PASSES.items():
            by_batch: dict[int, list[float]] = {}
            for entry in entries:
                by_batch.setdefault(entry["batch"], []).extend(one["s"] for one in entry[sort])
            for batch, seconds in sorted(by_batch.items()):
                predicted_s = device.seconds(subject.workload(batch, passes))
                ratio = median(seconds) / predicted_s
                anchors.append(
                    {
                        "model": subject.model,
                        "passes": passes.value,
                        "batch": batch,
                        "ratio": ratio,
                    }
                )
    return anchors
