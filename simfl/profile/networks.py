"""Networks to measure and to predict: simfl's by name, a user's own by file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from torch import nn

from simfl.errors import CostError, OptionError
from simfl.models.count import workload
from simfl.profile.bench import load_module
from simfl.profile.timing import Result, Steps, measure
from simfl.registry import MODELS
from simfl.work import Passes, Workload

_CLASSES: Final = 10
_SLOT_S: Final = 0.3  # for a batch and a sort of step


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network with the shape of its input.

    Attributes:
        name: as it was asked for.
        build: makes it anew.
        shape: of one input.
        model: what a workload calls it.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    model: str

    def workload(self, batch: int, passes: Passes = Passes.TRAIN) -> Workload:
        """Counts of one step."""
        counted = workload(self.build(), self.shape, batch=batch, passes=passes)
        return replace(counted, model=self.model)


def subject(name: str, shape: tuple[int, ...]) -> Subject:
    """A network by its name in simfl, or ``FILE.py:NAME``.

    Raises:
        RegistryError: no such model.
        CostError: no such file, or it does not take such inputs.
    """
    if ":" in name:
        try:
            module = load_module(name)
        except ValueError as error:
            raise CostError(str(error)) from error
        return Subject(
            name=name, build=lambda: load_module(name), shape=shape, model=type(module).__name__
        )
    plugin = MODELS.get(name)
    try:
        architecture = plugin.build(plugin.options(), classes=_CLASSES, sample_shape=shape)
    except OptionError as error:
        raise CostError(f"{name}: {error.message}; give --input") from error
    return Subject(name=name, build=architecture.build, shape=shape, model=architecture.name)


def shape_of(text: str) -> tuple[int, ...]:
    """``1x28x28`` as numbers.

    Raises:
        CostError: it is not that.
    """
    try:
        shape = tuple(int(part) for part in text.split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise CostError(f"--input {text}: give the shape of one input, e.g. 1x28x28")
    return shape


def time_steps(whole: Subject, batch: int, device: str) -> dict[str, Result]:
    """What one step takes here: ``train`` and ``inference``.

    Raises:
        CostError: it cannot be trained with this batch.
    """
    try:
        steps = Steps(whole.build(), list(whole.shape), batch, device)
        return {sort: measure(steps, sort, slot_s=_SLOT_S) for sort in ("train", "inference")}
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CostError(f"{whole.name} does not train with batch {batch}: {reason}") from error
