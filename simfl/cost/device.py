"""Device models: counts to seconds, from a file in which every number has a source."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field

from simfl.cost.compact import Compact
from simfl.cost.figures import Access, Amount, MemoryRate, RadioRate
from simfl.cost.fixed import Fixed, Trace
from simfl.cost.linear_nnz import LinearNnz
from simfl.errors import CostError, DeviceMemoryError
from simfl.options import Options, Positive
from simfl.work import Workload


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
    """A computation that was seen to fail on this device, where no memory formula says so."""

    model: str
    storage: Literal["dense", "masked", "coo", "csr"]
    reason: str
    source: str


class Device(Options):
    """A board with a software stack.

    Attributes:
        stack: the software that its figures belong to: framework, version, kernels.
        threads: that it computed with, where that is known.
        cost: how long steps take.
        memory_rate: of averaging, copying and masking outside the layers.
    """

    name: str
    description: str
    stack: str
    threads: Positive | None = None
    ram: Amount
    cost: Annotated[Compact | LinearNnz | Fixed | Trace, Field(discriminator="kind")]
    memory_rate: MemoryRate
    radio: RadioRate | None = None
    access: Access | None = None
    infeasible: list[Infeasible] = Field(default_factory=list)

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload: its steps, and what is moved besides."""
        try:
            steps_s = self.cost.seconds(work)
        except CostError as error:
            raise CostError(f"device '{self.name}' {error}") from error
        return steps_s + work.moved_bytes / self.memory_rate.value

    def check(self, work: Workload) -> None:
        """Refuse what was seen to fail on this device and stack."""
        storages = {layer.storage.value for layer in work.layers if layer.weights}
        for known in self.infeasible:
            if known.model == work.model and known.storage in storages:
                raise DeviceMemoryError(
                    f"out of memory: device '{self.name}' cannot train {work.model} held "
                    f"{known.storage} ({known.reason}; {known.source})"
                )
