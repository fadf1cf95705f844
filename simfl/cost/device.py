"""Device models: counts to seconds, from a file in which every number has a source."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Protocol

from pydantic import Field

from simfl.errors import CostError, DeviceMemoryError
from simfl.options import (
    ComputeRate,
    Options,
    PositiveDuration,
    Rate,
    Size,
    Throughput,
)
from simfl.work import LayerWork, Passes, Storage, Workload

# forward, gradient by weights, gradient by inputs: the FLOP of one multiply-accumulate per sample
FLOP_PER_MAC: Final = {Passes.FORWARD: 2.0, Passes.TRAIN: 6.0}


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


class Figure(Options):
    """One number of a device, with its evidence.

    Attributes:
        value: in SI base units; in the file, text with its unit.
        kind: how it is known. ``derived`` is arithmetic on cited figures, given in ``note``.
        source: paper and figure, table, data sheet or measurement; for ``assumed``, the reason.
    """

    kind: Literal["measured", "derived", "spec", "assumed"]
    source: Annotated[str, Field(min_length=3)]
    note: str = ""


class Time(Figure):
    """A time above zero, in seconds."""

    value: PositiveDuration


class Amount(Figure):
    """A size in bytes."""

    value: Size


class FlopRate(Figure):
    """A computing rate in FLOP per second."""

    value: ComputeRate


class MemoryRate(Figure):
    """A memory rate in bytes per second."""

    value: Throughput


class RadioRate(Figure):
    """A goodput in bits per second."""

    value: Rate


class Access(Figure):
    """The name of a link preset."""

    value: str


class Infeasible(Options):
    """A computation that was seen to fail on this device, where no memory formula says so."""

    model: str
    storage: Literal["dense", "masked", "sparse"]
    reason: str
    source: str


class StackDevice(Options):
    """A board with a software stack, described by floors and rates per kernel.

    One training step costs ``step``, plus ``sparse_weight`` for every stored weight and sample of a
    layer held sparse, plus 6 FLOP per multiply-accumulate and sample at ``dense_rate`` for the
    others. A training session begun anew costs ``session``. Memory traffic outside the layers runs
    at ``memory_rate``. A forward pass alone is charged a third of the kernels' time (one of the
    three products of equal size); that share is arithmetic, not measured.

    Source: Jiang et al. 2019 (the early PruneFL paper), Figs. 2, 11 and 12, whose compute times are
    linear in the non-zeros of the sparse layers.
    """

    name: str
    description: str
    stack: str
    ram: Amount
    step: Time
    sparse_weight: Time | None = None
    dense_rate: FlopRate | None = None
    session: Time | None = None
    memory_rate: MemoryRate
    radio: RadioRate | None = None
    access: Access | None = None
    infeasible: list[Infeasible] = Field(default_factory=list)

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload; see the class for the formula."""
        share = FLOP_PER_MAC[work.passes] / FLOP_PER_MAC[Passes.TRAIN]
        total = work.steps * self.step.value + work.moved_bytes / self.memory_rate.value
        if work.sessions and self.session is not None:
            total += work.sessions * self.session.value
        for layer in work.layers:
            total += share * work.samples * self._sample_seconds(layer)
        return total

    def _sample_seconds(self, layer: LayerWork) -> float:
        """Forward and backward of one sample through one layer."""
        if layer.storage is Storage.SPARSE:
            if self.sparse_weight is None:
                raise CostError(
                    f"device '{self.name}' has no figure for sparse layers ({layer.name}); add "
                    "sparse_weight to its file, or keep the model dense"
                )
            return layer.nonzero * self.sparse_weight.value
        if self.dense_rate is None:
            raise CostError(
                f"device '{self.name}' has no figure for dense layers ({layer.name}); add "
                "dense_rate to its file"
            )
        return layer.macs * FLOP_PER_MAC[Passes.TRAIN] / self.dense_rate.value

    def check(self, work: Workload) -> None:
        """Refuse what was seen to fail on this device and stack."""
        storages = {layer.storage.value for layer in work.layers}
        for known in self.infeasible:
            if known.model == work.model and known.storage in storages:
                raise DeviceMemoryError(
                    f"out of memory: device '{self.name}' cannot train {work.model} held "
                    f"{known.storage} ({known.reason}; {known.source})"
                )
