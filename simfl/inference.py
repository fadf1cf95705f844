"""What a network takes to answer on a device: latency, throughput and memory of a forward pass.

A mask is multiplied into its weight once, before the network is deployed: zeros are then numbers
like others, and a masked network takes the time and the memory of the dense one. A linear layer may
be held sparse instead, where a device has figures for that; convolutions stay dense.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from simfl.cost.compact import Compact
from simfl.cost.device import Device
from simfl.cost.evidence import evidence_of
from simfl.cost.memory import peak_bytes
from simfl.cost.per_sample import PerSample
from simfl.devices import load_device
from simfl.errors import (
    CostError,
    DeviceMemoryError,
    OptionError,
    ScenarioError,
    TraceError,
    did_you_mean,
)
from simfl.models.base import Architecture
from simfl.models.count import operations, workload
from simfl.models.shapes import shaped
from simfl.record import Trace
from simfl.registry import MODELS
from simfl.scenario import loads
from simfl.tensors import Layout
from simfl.work import Kind, LayerWork, Manifest, Passes, Storage, Workload

Model = nn.Module | str | Path | Trace
"""A module, the name of one of simfl's models, or a trace or its path: the model it ended with."""

_ENDING: Final = ".h5"
_SPARSE: Final = (Storage.CSR, Storage.COO)
_HELD: Final = {storage.value: storage for storage in (Storage.DENSE, *_SPARSE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A forward pass of one network on one device.

    Attributes:
        device: its name.
        model: the network's name.
        batch: samples that are answered at once.
        storage: how linear weights are held: dense, or the stored entries alone.
        latency_s: from a batch to its answers.
        throughput_per_s: samples a second, one batch after the other.
        memory_bytes: of weights and activations at the worst moment, beside system, interpreter
            and framework.
        macs: multiply-accumulates of one sample that the kernels compute.
        parameters: numbers that were trained and not pruned.
        fits: whether the device can hold it, beside what is taken already where that is known.
        note: where the latency is not from measured forward passes, or rough; else empty.
    """

    device: str
    model: str
    batch: int
    storage: Storage
    latency_s: float
    throughput_per_s: float
    memory_bytes: float
    macs: int
    parameters: int
    fits: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that answers, counted.

    Attributes:
        layers: its operations, weights held dense, with the entries that are not pruned.
    """

    name: str
    layers: tuple[LayerWork, ...]

    @property
    def parameters(self) -> int:
        """Numbers that were trained and not pruned."""
        pruned = sum(n.weights - n.nonzero for n in self.layers if not n.shares)
        return sum(n.parameters for n in self.layers) - pruned

    @property
    def sparse(self) -> bool:
        """Whether a linear layer has zeros that need not be stored."""
        return any(n.kind is Kind.LINEAR and n.nonzero < n.weights for n in self.layers)

    def held(self, storage: Storage) -> Network:
        """With pruned linear weights held like that; the others dense, with their zeros."""
        return replace(
            self,
            layers=tuple(
                replace(n, storage=storage)
                if storage.sparse and n.kind is Kind.LINEAR and n.nonzero < n.weights
                else replace(n, nonzero=n.weights)
                for n in self.layers
            ),
        )

    def forward(self, batch: int) -> Workload:
        """One forward pass."""
        return Workload(
            model=self.name,
            layers=self.layers,
            samples=batch,
            steps=1,
            batch=batch,
            passes=Passes.FORWARD,
        )


def inference_time(
    model: Model,
    device: str | Path | Device,
    *,
    sample_shape: tuple[int, ...] | None = None,
    classes: int = 10,
    batch: int = 1,
    storage: Storage | str = Storage.DENSE,
) -> Inference:
    """Latency, throughput and memory of a network that answers on a device.

    Args:
        model: a module, a name of ``simfl list models`` with its default options, or a trace, of
            which the model that it ended with counts.
        device: a device model, its file, or its name in ``simfl list devices``.
        sample_shape: of one input; a trace knows its own.
        classes: outputs of a named model.
        batch: samples that are answered at once.
        storage: how pruned linear weights are held: ``dense``, with their zeros, ``csr`` or
            ``coo``.

    Raises:
        ScenarioError: no such model, or inputs that it cannot take.
        TraceError: a trace without a model.
        CostError: no such device, or one without figures for such a forward pass.

    >>> found = inference_time("lenet5", "pi4", sample_shape=(1, 28, 28))
    >>> found.parameters, found.macs, found.fits
    (61706, 416520, True)
    """
    if batch < 1:
        raise ScenarioError(f"batch of {batch}: give 1 or more")
    word = storage.value if isinstance(storage, Storage) else storage
    if word not in _HELD:
        raise ScenarioError(f"storage {word}: {did_you_mean(word, _HELD)}")
    network = network_of(model, sample_shape=sample_shape, classes=classes)
    on = device if isinstance(device, Device) else load_device(str(device))
    return answered(network, on, batch=batch, storage=_HELD[word])


def answered(
    network: Network, device: Device, *, batch: int = 1, storage: Storage = Storage.DENSE
) -> Inference:
    """A forward pass of a counted network on a device.

    Raises:
        CostError: the device has no figures for it.
    """
    held = network.held(storage)
    work = held.forward(batch)
    latency_s = device.seconds(work)
    return Inference(
        device=device.name,
        model=network.name,
        batch=batch,
        storage=storage,
        latency_s=latency_s,
        throughput_per_s=batch / latency_s,
        memory_bytes=peak_bytes(work),
        macs=sum(_macs(layer) for layer in held.layers),
        parameters=network.parameters,
        fits=_fits(device, work),
        note=note_of(device),
    )


def answered_sparse(network: Network, device: Device, *, batch: int = 1) -> Inference | None:
    """With pruned linear weights held sparse, in the form that is the soonest.

    None where nothing of them is pruned, or the device has no figures for sparse weights.
    """
    found = []
    for storage in _SPARSE if network.sparse else ():
        with suppress(CostError):
            found.append(answered(network, device, batch=batch, storage=storage))
    return min(found, key=lambda one: one.latency_s, default=None)


def note_of(device: Device) -> str:
    """What is weak about a device's forward passes; empty where nothing is.

    >>> note_of(load_device("pi4"))
    "a third of a training step's kernels, and its floor: no forward pass was measured"
    """
    cost = device.cost
    if isinstance(cost, PerSample):
        return "one time for all networks: pruning saves nothing"
    if not isinstance(cost, Compact):
        return ""
    if cost.inference is None:
        return "a third of a training step's kernels, and its floor: no forward pass was measured"
    known = evidence_of(cost.inference)
    if known.rough:
        return (
            f"rough ({known.grade}): one in three is off by more than a factor of "
            f"{known.factor:.1f}"
        )
    return ""


def _macs(layer: LayerWork) -> int:
    if not layer.storage.sparse or not layer.weights:
        return layer.macs
    return layer.macs * layer.nonzero // layer.weights


def _fits(device: Device, work: Workload) -> bool:
    try:
        device.check(work)
    except DeviceMemoryError:
        return False
    return True


def network_of(
    model: Model, *, sample_shape: tuple[int, ...] | None = None, classes: int = 10
) -> Network:
    """A network, counted; of a trace the one that it ended with.

    Raises:
        ScenarioError: no such model, or inputs that it cannot take.
        TraceError: a trace without a model.
        CostError: a module that does not run on shapes alone.
    """
    if isinstance(model, Trace):
        return final_of(model)
    if isinstance(model, Path) or (isinstance(model, str) and model.endswith(_ENDING)):
        return final_of(Trace(model))
    if sample_shape is None:
        named = model if isinstance(model, str) else type(model).__name__
        raise ScenarioError(f"{named}: give the shape of one sample, e.g. (1, 28, 28)")
    if isinstance(model, nn.Module):
        return _module(model, sample_shape)
    if model not in MODELS.names():
        mend = did_you_mean(model, MODELS.names())
        raise ScenarioError(f"{model}: no such model, and no trace; {mend}")
    plugin = MODELS.get(model)
    try:
        built: Architecture = plugin.build(
            plugin.options(), classes=classes, sample_shape=sample_shape
        )
    except OptionError as error:
        raise ScenarioError(f"{model}: {error.message}") from error
    return _counted(built)


def original_of(trace: Trace) -> Network:
    """The network of a trace's scenario, before anything was pruned."""
    return _counted(_architecture(trace))


def final_of(trace: Trace) -> Network:
    """The network that a run ended with: the server's last one, or the first peer's.

    Raises:
        TraceError: no model was made, so none is recorded.
    """
    counts = _last_model(trace)
    return _pruned(_counted(_as_left(_architecture(trace), counts)), counts)


def _module(module: nn.Module, sample_shape: tuple[int, ...]) -> Network:
    work = workload(module, sample_shape, batch=1, passes=Passes.FORWARD)
    values = dict(module.named_parameters()) | {
        # as torch.nn.utils.prune names them; multiplied in already, when the network is deployed
        name.removesuffix("_mask") + "_orig": mask
        for name, mask in module.named_buffers()
        if name.endswith("_mask")
    }
    layers = tuple(
        replace(
            n,
            storage=Storage.DENSE,
            nonzero=_stored(values[n.name]) if n.name in values else n.nonzero,
        )
        if n.weights
        else n
        for n in work.layers
    )
    return Network(name=work.model, layers=layers)


def _stored(values: Tensor) -> int:
    """Entries that are not zero; all of them where there are only shapes."""
    return values.numel() if values.is_meta else int(values.count_nonzero())


def _counted(architecture: Architecture) -> Network:
    layers = operations(architecture.build, architecture.sample_shape, training=False)
    return Network(name=architecture.name, layers=layers)


def _pruned(network: Network, counts: Manifest) -> Network:
    """With as many stored entries as a state has."""
    stored = {t.name: t.nonzero for t in counts.tensors}
    layers = tuple(
        replace(n, nonzero=stored[n.name]) if n.weights and n.name in stored else n
        for n in network.layers
    )
    return replace(network, layers=layers)


def _architecture(trace: Trace) -> Architecture:
    scenario = loads(trace.scenario, str(trace.path), folder=trace.folder)
    choice, facts = scenario.learning.model, trace.dataset
    shape = tuple(facts["sample_shape"])
    built: Architecture = choice.plugin().build(
        choice.options, classes=facts["classes"], sample_shape=shape
    )
    return built


def _as_left(architecture: Architecture, counts: Manifest) -> Architecture:
    """The architecture with the shapes that a state's tensors have."""
    state = architecture.build().state_dict()
    if all(tuple(state[t.name].shape) == t.shape for t in counts.tensors):
        return architecture
    names = tuple(t.name for t in counts.tensors)
    return shaped(architecture, Layout(names, tuple(t.shape for t in counts.tensors)))


def _last_model(trace: Trace) -> Manifest:
    """The counts of the last model that a server or peer made of others'."""
    made = trace.activities[trace.activities["verb"].isin(("aggregate", "mix"))]
    if trace.peers:
        made = made[made["node"] == trace.peers[0]]
    counts = trace.recorded().get(made["key"].iloc[-1]) if len(made) else None
    if counts is None or not counts.tensors:
        raise TraceError(
            f"{trace.path}: no model is recorded in it, no round was ended; go on with simfl "
            f"resume {trace.path}"
        )
    return counts
