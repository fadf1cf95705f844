"""Device models: counts to seconds, from a file in which every number has a source."""

from __future__ import annotations

from dataclasses import replace
from math import fsum, nan
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, Field, field_validator

from simfl.cost.compact import Compact
from simfl.cost.evidence import Evidence, evidence_of, figures
from simfl.cost.figures import (
    Access,
    Amount,
    Joules,
    MemoryRate,
    Portion,
    RadioRate,
    Spread,
    Time,
    Watts,
)
from simfl.cost.fixed import Fixed, Trace
from simfl.cost.linear_nnz import LinearNnz
from simfl.cost.memory import largest_batch, peak_bytes
from simfl.cost.per_sample import PerSample
from simfl.errors import CostError, DeviceMemoryError
from simfl.options import Options, Positive
from simfl.units import show_bytes
from simfl.work import Passes, Workload


class CostModel(Protocol):
    """How long steps take: one kind of ``cost`` in a device file."""

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's steps and sessions.

        Raises:
            CostError: it lacks a figure that this work needs; what is said follows the device's
                name.
        """


class DeviceModel(Protocol):
    """What the event loop asks of a device."""

    @property
    def name(self) -> str:
        """The device model's name."""

    def seconds(self, work: Workload) -> float:
        """How long the work takes, alone on the device.

        Raises:
            CostError: the model lacks a figure that this work needs.
        """

    def check(self, work: Workload) -> None:
        """Refuse what the device cannot hold.

        Raises:
            DeviceMemoryError: it cannot.
        """


class Infeasible(Options):
    """A training that was seen to fail on this device, where no memory formula says so."""

    model: str
    storage: Literal["dense", "masked", "coo", "csr"]
    reason: str
    source: str


class Throttling(Options):
    """A state in which some boards of a kind end up.

    Attributes:
        share: of the boards.
        speed: what remains of theirs.
        after: seconds of computing until it sets in; left out, it is there from the start.
    """

    share: Portion
    speed: Portion
    after: Time | None = None

    @field_validator("speed")
    @classmethod
    def _moves(cls, speed: Portion) -> Portion:
        if not speed.value:
            raise ValueError("a board that stands still; give a speed above 0")
        return speed


class Variation(Options):
    """How far a device may be from its model, and its runs from each other: log-normal factors.

    Attributes:
        model: the model's error, one for all devices of this kind and a network.
        unit: between boards of this kind.
        step: between the steps of one board.
        throttling: what slows boards down; the rest never do.
    """

    model: Spread | None = None
    unit: Spread | None = None
    step: Spread | None = None
    throttling: list[Throttling] = Field(default_factory=list)

    @field_validator("throttling")
    @classmethod
    def _of_one(cls, states: list[Throttling]) -> list[Throttling]:
        total = fsum(state.share.value for state in states)
        if total > 1:
            raise ValueError(f"shares of {total:g} in all; give at most 1")
        return states


class Draw(Options):
    """What the whole device draws from its supply; what is not known is left out.

    Attributes:
        idle: doing nothing, radio on.
        busy: computing on all the threads of its stack.
        transmit: on top of either, while it sends.
        receive: on top of either, while it receives.
    """

    idle: Watts | None = None
    busy: Watts | None = None
    transmit: Watts | None = None
    receive: Watts | None = None

    def watts(self, kind: str) -> float:
        """While it is idle, does ``compute``, ``transmit`` or ``receive``; nan where unknown."""
        figures = {"compute": self.busy, "transmit": self.transmit, "receive": self.receive}
        figure = figures.get(kind, self.idle)
        return nan if figure is None else figure.value


class Device(Options):
    """A board with a software stack.

    Attributes:
        stack: the software that its figures belong to: framework, version, kernels.
        threads: that it computed with, where that is known.
        cost: how long steps take.
        memory_rate: of averaging, copying and masking outside the layers.
        runtime: memory that system, interpreter and framework take before there is a model.
        battery: energy of a full one.
    """

    name: str
    description: str
    stack: str
    threads: Positive | None = None
    ram: Amount
    cost: Annotated[Compact | LinearNnz | Fixed | Trace | PerSample, Field(discriminator="kind")]
    memory_rate: MemoryRate
    radio: RadioRate | None = None
    access: Access | None = None
    runtime: Amount | None = None
    variation: Variation = Field(default_factory=Variation)
    power: Draw | None = None
    battery: Joules | None = None
    infeasible: list[Infeasible] = Field(default_factory=list)

    @field_validator("cost")
    @classmethod
    def _says_something(cls, cost: BaseModel) -> BaseModel:
        if next(figures(cost), None) is None:
            raise ValueError("no figures; give it some")
        return cost

    @property
    def evidence(self) -> Evidence:
        """How its times are known."""
        return evidence_of(self.cost)

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload: its steps, and what is tested and moved besides."""
        try:
            steps_s = self.cost.seconds(work)
            if work.tested:
                steps_s += self._test_s(work.test)
        except CostError as error:
            raise CostError(f"device '{self.name}' {error}") from error
        return steps_s + work.moved_bytes / self.memory_rate.value

    def _test_s(self, work: Workload) -> float:
        """Seconds of forward passes; without figures for them, a third of a training's: assumed."""
        try:
            return self.cost.seconds(work)
        except CostError:
            return self.cost.seconds(replace(work, passes=Passes.TRAIN)) / 3

    def needed_bytes(self, work: Workload) -> float:
        """Memory at the worst moment: the work's, and what is taken before, where that is known."""
        return self._taken_bytes + peak_bytes(work)

    def largest_batch(self, work: Workload) -> int:
        """The most samples of a step that fit; 0 where not one does."""
        return largest_batch(work, self.ram.value - self._taken_bytes)

    def check(self, work: Workload) -> None:
        """Refuse what was seen to fail on this device and stack, and what its memory cannot hold.

        Where ``runtime`` is not known, the work alone is held against ``ram``.
        """
        storages = {layer.storage.value for layer in work.layers if layer.weights}
        # what failed was a training: a forward pass keeps nothing for a gradient
        for known in self.infeasible if work.passes is Passes.TRAIN else ():
            if known.model == work.model and known.storage in storages:
                raise DeviceMemoryError(
                    f"out of memory: device '{self.name}' cannot train {work.model} held "
                    f"{known.storage} ({known.reason}; {known.source})"
                )
        if work.layers and self.needed_bytes(work) > self.ram.value:
            raise DeviceMemoryError(self._too_much(work))

    @property
    def _taken_bytes(self) -> float:
        return self.runtime.value if self.runtime else 0.0

    def _too_much(self, work: Workload) -> str:
        does = "train" if work.passes is Passes.TRAIN else "run"
        taken = "besides system, interpreter and framework, whose share is not known"
        if self.runtime:
            taken = f"{show_bytes(self.runtime.value)} of it before there is a model"
        most = self.largest_batch(work)
        fits = f"batches of {most} fit" if most else "not one sample fits"
        return (
            f"out of memory: device '{self.name}' cannot {does} {work.model} on batches of "
            f"{work.batch}: it needs {show_bytes(self.needed_bytes(work))} ({taken}) and has "
            f"{show_bytes(self.ram.value)}; {fits}"
        )
