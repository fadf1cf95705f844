"""Bytes that a computation needs at its worst moment, counted from what PyTorch stores.

A training step is walked forward and back: what an operation keeps for the backward pass is there
from then on until the pass has come back to it, and gradients of the weights take its place.
`analysis/memory_check.py` holds this against PyTorch's allocator and the system's resident set.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final, NamedTuple

from simfl.work import Kind, LayerWork, Passes, Storage, Workload

# glibc 2.36's heap for what comes and goes, as a multiple of what is in use: the median of 30 cases
# of `analysis/memory_check.py` on x86-64, of which single ones are between 1.05 and 2.5
HEAP: Final = 1.6
_FLOAT: Final = 4
_INDEX: Final = 8  # torch.sparse holds int64 indices
# channels that oneDNN's blocked formats are filled up to: the floats of an AVX-512 register
_BLOCK: Final = 16


class Moment(NamedTuple):
    """What a point of a step adds to what is held: whatever the batch, and for each sample."""

    fixed_bytes: int
    sample_bytes: int

    def plus(self, other: Moment) -> Moment:
        """Both."""
        return Moment(self.fixed_bytes + other.fixed_bytes, self.sample_bytes + other.sample_bytes)


def allocated_bytes(work: Workload) -> int:
    """The most that PyTorch's allocator has given out at once.

    Parameters as they are stored, the optimiser's slots, gradients, and the activations of a batch.
    Of a computation without layers nothing is known, and 0 is said.
    """
    return held_bytes(work) + _passing_bytes(work)


def peak_bytes(work: Workload) -> float:
    """What a computation takes from the system at most, beside system, interpreter and framework.

    What comes and goes leaves holes in the heap, so that more is taken than is in use.
    """
    return held_bytes(work) + HEAP * _passing_bytes(work)


def largest_batch(work: Workload, room_bytes: float) -> int:
    """The most samples that a step can have in so much room; 0 where not even one fits."""
    room_bytes = (room_bytes - held_bytes(work)) / HEAP
    most = inf
    for moment in moments(work):
        left_bytes = room_bytes - moment.fixed_bytes
        if left_bytes < 0:
            return 0
        if moment.sample_bytes:
            most = min(most, left_bytes // moment.sample_bytes)
    return 0 if most == inf else int(most)


def held_bytes(work: Workload) -> int:
    """What is there from step to step: parameters, and what the optimiser keeps for them."""
    slots = work.slots if work.passes is Passes.TRAIN else 0
    return sum(_stored(layer) + slots * _gradient(layer) for layer in work.layers)


def _passing_bytes(work: Workload) -> int:
    """The most that comes and goes within a step."""
    return max((m.fixed_bytes + m.sample_bytes * work.batch for m in moments(work)), default=0)


def moments(work: Workload) -> Iterator[Moment]:
    """The points of a step at which it may need most."""
    if work.passes is Passes.FORWARD:
        yield from _forward(work.layers)
        return
    kept = Moment(0, 0)
    for layer in work.layers:
        kept = kept.plus(_of(layer, layer.kept_bytes))
        passing = max(0, _FLOAT * layer.outputs - layer.kept_bytes)
        yield kept.plus(_of(layer, passing + _blocked(layer, layer.outputs)))
    gradients = freed = 0
    for number, layer in reversed(list(enumerate(work.layers))):
        # gradients of what it made, and of what it read where something before it is trained. An
        # addition hands its gradient on; here it counts for the one that waits for a branch
        back = layer.passes_back
        passing = _FLOAT * (layer.outputs + (layer.inputs if back else 0))
        gradients += _gradient(layer)
        for scratch in _scratch(layer, back):
            yield kept.plus(_of(layer, passing)).plus(Moment(gradients + scratch, 0))
        kept = kept.plus(_of(layer, freed - layer.kept_bytes))
        # a composed weight goes with its layer, and not with the operation that made it
        before = work.layers[number - 1]
        composed = layer.composed and before.once
        freed = min(_FLOAT * layer.weights, before.kept_bytes) if composed else 0
        kept = kept.plus(Moment(-freed, 0))


def _forward(layers: tuple[LayerWork, ...]) -> Iterator[Moment]:
    waiting = 0
    for layer in layers:
        if layer.once:
            # of the samples there is at most what the operation before had
            yield Moment(layer.live_bytes, waiting)
            continue
        waiting = layer.live_bytes
        weight = _FLOAT * layer.weights if layer.composed else 0
        yield Moment(weight, waiting + _blocked(layer, layer.outputs))


def _of(layer: LayerWork, nbytes: int) -> Moment:
    """Bytes that an operation needs for each sample, or once."""
    return Moment(nbytes, 0) if layer.once else Moment(0, nbytes)


def _stored(layer: LayerWork) -> int:
    """An operation's parameters, as they are held while it computes."""
    if layer.shares:
        return _FLOAT * layer.parameters
    rest = _FLOAT * (layer.parameters - layer.weights)
    if layer.storage is Storage.COO:
        return rest + layer.nonzero * (_FLOAT + 2 * _INDEX)
    if layer.storage is Storage.CSR:
        return rest + layer.nonzero * (_FLOAT + _INDEX) + (layer.outputs + 1) * _INDEX
    # masked: weight, mask, and their product, which the forward pass leaves behind
    copies = 3 if layer.storage is Storage.MASKED else 1
    return rest + copies * _FLOAT * layer.weights


def _gradient(layer: LayerWork) -> int:
    """A number for each parameter; of a sparse weight the stored ones, which share its indices."""
    if layer.shares:
        return _FLOAT * layer.parameters
    stored = layer.nonzero if layer.storage.sparse else layer.weights
    return _FLOAT * (layer.parameters - layer.weights + stored)


def _scratch(layer: LayerWork, back: bool) -> Iterator[int]:
    """What computing gradients takes besides, one after the other: the weight's, the input's."""
    if layer.storage is Storage.MASKED:
        yield _FLOAT * layer.weights  # the product's, before the mask is multiplied in
    elif layer.storage is Storage.COO:
        # the dense gradient, of which a copy of the weight's indices picks the stored ones
        yield _FLOAT * layer.weights + layer.nonzero * (_FLOAT + 2 * _INDEX)
        if back:  # the transpose is sorted: its indices and values, flat indices, their order
            yield layer.nonzero * (_FLOAT + 4 * _INDEX)
    elif layer.storage is Storage.CSR:
        # not derived: 31 and 68 bytes a stored entry were measured
        yield layer.nonzero * 31
        if back:
            yield layer.nonzero * 68
    elif layer.composed:
        yield _FLOAT * layer.weights  # the weight's, on its way to the factors
    else:
        yield 0


def _blocked(layer: LayerWork, numbers: int) -> int:
    """A convolution's result in oneDNN's format, before it is copied to PyTorch's."""
    if layer.kind not in (Kind.CONV, Kind.DEPTHWISE) or not layer.weights:
        return 0
    channels = layer.weights // (layer.channels * layer.window)
    return _FLOAT * numbers * (-(-channels // _BLOCK) * _BLOCK) // channels
