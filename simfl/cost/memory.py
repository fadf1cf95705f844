"""Bytes that a computation needs at its worst moment, counted from what PyTorch stores.

A training step is walked forward and back: what an operation keeps for the backward pass is there
from then on until the pass has come back to it, and gradients of the weights take its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from simfl.work import LayerWork, Passes, Storage, Workload

FLOAT_BYTES: Final = 4
_INDEX_BYTES: Final = 8  # torch.sparse holds int64 indices


class Moment(NamedTuple):
    """Memory at one point of a step: what is there whatever the batch, and for each sample."""

    fixed_bytes: int
    sample_bytes: int


def peak_bytes(work: Workload) -> int:
    """What a computation needs at most, beside system, interpreter and framework.

    One step's worth: parameters, what their storage adds, the optimiser's slots, gradients, and the
    activations of a batch. Of a computation without layers nothing is known, and 0 is said.
    """
    return max((m.fixed_bytes + m.sample_bytes * work.batch for m in moments(work)), default=0)


def largest_batch(work: Workload, room_bytes: float) -> int:
    """The most samples a step can have in so much room; 0 where not even one fits."""
    fits = [
        (room_bytes - m.fixed_bytes) // m.sample_bytes
        if m.sample_bytes
        else (0 if m.fixed_bytes > room_bytes else float("inf"))
        for m in moments(work)
    ]
    return max(0, int(min(fits))) if fits else 0


def moments(work: Workload) -> Iterator[Moment]:
    """The points of a step at which it may need most."""
    if not work.layers:
        return
    held = sum(map(held_bytes, work.layers))
    if work.passes is Passes.FORWARD:
        for layer in work.layers:
            yield Moment(held + _scratch(layer), layer.live_bytes + _workspace(layer))
        return
    held += work.slots * sum(map(gradient_bytes, work.layers))
    kept = 0
    for layer in work.layers:
        # while it computes: what it reads and makes is there, kept or not
        kept += layer.kept_bytes
        beside = max(0, FLOAT_BYTES * layer.outputs - layer.kept_bytes)
        yield Moment(held, kept + beside + _workspace(layer))
    gradients = 0
    for layer in reversed(work.layers):
        # the gradients of what it made, and of what it read where something before it is trained
        back = layer.products > (layer.parameters > 0)
        passed = FLOAT_BYTES * (layer.outputs + (layer.inputs if back else 0))
        gradients += gradient_bytes(layer)
        yield Moment(held + gradients + _scratch(layer), kept + passed + _workspace(layer))
        kept -= layer.kept_bytes


def held_bytes(layer: LayerWork) -> int:
    """Of an operation's parameters, as they are stored while it computes."""
    rest = FLOAT_BYTES * (layer.parameters - layer.weights)
    if layer.storage is Storage.COO:
        return rest + layer.nonzero * (FLOAT_BYTES + 2 * _INDEX_BYTES)
    if layer.storage is Storage.CSR:
        return rest + layer.nonzero * (FLOAT_BYTES + _INDEX_BYTES) + (layer.outputs + 1) * 8
    # masked: the mask, and their product
    copies = 3 if layer.storage is Storage.MASKED else 1
    return rest + copies * FLOAT_BYTES * layer.weights


def gradient_bytes(layer: LayerWork) -> int:
    """Of an operation's parameters' gradients."""
    stored = layer.nonzero if layer.storage.sparse else layer.weights
    return FLOAT_BYTES * (layer.parameters - layer.weights + stored)


def _scratch(layer: LayerWork) -> int:
    """Beside the gradients, while they are computed."""
    return 0


def _workspace(layer: LayerWork) -> int:
    """Of one sample, what a kernel needs to itself."""
    return 0
