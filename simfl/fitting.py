"""Which devices can hold a model, and what they need for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from simfl import registry, resources
from simfl.cost.device import Device
from simfl.datafolder import locate
from simfl.devices import load_device
from simfl.errors import CostError, DeviceMemoryError, OptionError, ScenarioError, did_you_mean
from simfl.models.base import Architecture
from simfl.running import Parts
from simfl.scenario.choices import DatasetChoice
from simfl.work import Kind, Manifest, Storage, Turn, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A device and a computation.

    Attributes:
        needed_bytes: at the worst moment; without what is taken before where that is not known.
        ram_bytes: that the device has.
        whole: whether what system, interpreter and framework take is in it.
        largest_batch: that fits; 0 where none does.
        refused: why it does not fit; empty where it does.
        timed: whether the device's file has the figures to say how long it takes.
    """

    device: str
    needed_bytes: float
    ram_bytes: float
    whole: bool
    largest_batch: int
    refused: str
    timed: bool


def fit_of(device: Device, work: Workload) -> Fit:
    """Whether a device can hold a computation."""
    refused = ""
    try:
        device.check(work)
    except DeviceMemoryError as error:
        refused = str(error)
    seen = refused and device.needed_bytes(work) <= device.ram.value
    return Fit(
        device=device.name,
        needed_bytes=device.needed_bytes(work),
        ram_bytes=device.ram.value,
        whole=device.runtime is not None,
        largest_batch=0 if seen else device.largest_batch(work),
        refused=refused,
        timed=_timed(device, work),
    )


def _timed(device: Device, work: Workload) -> bool:
    try:
        device.seconds(work)
    except CostError:
        return False
    return True


def every_device(work: Workload) -> list[Fit]:
    """All packaged devices, by name."""
    return [fit_of(load_device(name), work) for name in resources.names("device_models")]


def planned(parts: Parts, model: Manifest) -> list[Fit]:
    """The clients' or peers' device models in a plan: of each, the node that needs most to train.

    Args:
        parts: of the scenario.
        model: counts of what they train.
    """
    rule, fits = parts.algorithm.work["train"], dict[str, Fit]()
    for node, index in parts.scenario.platform.indices.items():
        if index < 0:
            continue
        fit = fit_of(parts.devices[node], rule(parts.algorithm, model, Turn(index, 1)))
        known = fits.get(fit.device)
        if known is None or fit.needed_bytes > known.needed_bytes:
            fits[fit.device] = fit
    return list(fits.values())


def training_of(
    model: str,
    *,
    batch: int,
    sample_shape: tuple[int, int, int],
    classes: int,
    storage: Storage = Storage.DENSE,
    density: float = 1.0,
) -> Workload:
    """A step of SGD of one of simfl's models, with its default options.

    Args:
        model: of ``simfl list models``.
        batch: samples.
        sample_shape: channels, height and width.
        classes: outputs.
        storage: of all weights; sparse ones are of linear layers, and convolutions then masked.
        density: share of the weights that is stored.

    Raises:
        ScenarioError: no such model, or images that it cannot take.
    """
    if model not in registry.MODELS.names():
        raise ScenarioError(f"--fits {model}: {did_you_mean(model, registry.MODELS.names())}")
    plugin = registry.MODELS.get(model)
    try:
        built: Architecture = plugin.build(
            plugin.options(), classes=classes, sample_shape=sample_shape
        )
    except OptionError as error:
        raise ScenarioError(f"--fits {model}: {error.message}") from error
    layers = tuple(
        replace(
            layer,
            storage=storage if layer.kind is Kind.LINEAR or not storage.sparse else Storage.MASKED,
            nonzero=round(density * layer.weights),
        )
        if layer.weights and storage is not Storage.DENSE
        else layer
        for layer in built.operations
    )
    return Workload(model=model, layers=layers, samples=batch, steps=1, batch=batch)


def images_of(dataset: str, data_dir: Path | None) -> tuple[tuple[int, int, int], int]:
    """Shape and classes of a data set, which is read for them.

    Raises:
        ScenarioError: no such data set.
        DataError: it is not on this machine.
    """
    if dataset not in registry.DATASETS.names():
        mend = did_you_mean(dataset, registry.DATASETS.names())
        raise ScenarioError(f"--dataset {dataset}: {mend}")
    if registry.DATASETS.get(dataset).needs_options:
        raise ScenarioError(f"--dataset {dataset}: has options; give --input and --classes instead")
    found = locate(DatasetChoice.model_validate({"name": dataset}), data_dir).dataset
    return found.sample_shape, found.classes


def parse_images(text: str) -> tuple[int, int, int]:
    """Channels, height and width.

    Raises:
        ScenarioError: not three positive numbers.

    >>> parse_images("3x32x32")
    (3, 32, 32)
    """
    numbers = text.split("x")
    if len(numbers) != 3 or not all(n.isdecimal() and int(n) > 0 for n in numbers):
        raise ScenarioError(f"--input {text}: give channels x height x width, e.g. 3x32x32")
    channels, height, width = map(int, numbers)
    return channels, height, width
