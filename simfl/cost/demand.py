"""What steps ask of a device, one number for each figure of the compact model.

Seconds are the sum over figures of count x time (or count / rate), so what a formula has in it is
here, and only here: to predict with known figures, and to fit figures to known times.

Which kernel PyTorch takes for a convolution on a CPU: `use_mkldnn` in ATen's Convolution.cpp.
When the C library gives memory back to the system: `mallopt(3)`, M_MMAP_THRESHOLD and
M_TRIM_THRESHOLD.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from math import ceil
from typing import Final, Literal

from simfl.work import Kind, LayerWork, Storage

Counts = defaultdict[str, float]
Plain = Literal["none", "lone", "lone_and_pointwise"]
"""Convolutions computed as plain matrix products: none; of one small sample, as PyTorch does on a
CPU; of those, and of 1 x 1 in small batches, as it does on one thread of a CPU."""

FLOP_PER_MAC: Final = 2.0

_NUMBER_BYTES: Final = 4
_PAGE_BYTES: Final = 4096
# of one weight in an SGD step: gradient read, weight read, weight written
_UPDATE: Final = 3
# PyTorch's own kernel, a matrix product, instead of oneDNN's: for 1 x 1 below this batch...
_POINTWISE_BATCH: Final = 16
# ...and for one sample of at most so many numbers, with kernels of at most 3 x 3
_LONE_NUMBERS: Final = 20480
_LONE_WINDOW: Final = 9
# glibc on 64 bits asks the system anew for blocks from here on
_MAPPED_BYTES: Final = 32 * 2**20
# and gives back what is free at the heap's end beyond so many of the largest smaller block
_TRIMMED: Final = 2


def demand(
    layers: Sequence[LayerWork],
    *,
    samples: float,
    steps: float,
    training: bool,
    known: Collection[str],
    cache_bytes: float = 0.0,
    plain: Plain = "none",
    block: int = 1,
) -> Counts:
    """Counts by figure, over all steps.

    Args:
        layers: operations, in the order of the forward pass.
        samples: sample passes in all.
        steps: how many steps they come in.
        training: forward and backward and SGD; else forward alone.
        known: figures that the device has: what it has none for is charged to a plainer one.
        cache_bytes: what the processor keeps for itself.
        plain: convolutions that PyTorch computes as plain matrix products.
        block: channels that the other convolutions compute at once, the last ones filled up with
            zeros.
    """
    batch = samples / steps if steps else max(samples, 1.0)
    asked: Counts = defaultdict(float, step=steps)
    for layer in layers:
        times = steps if layer.once else samples
        if layer.storage.sparse:
            _sparse(asked, layer, samples, steps, training, known)
        elif layer.kind in (Kind.CONV, Kind.DEPTHWISE, Kind.LINEAR):
            at_once = 0 if _is_plain(layer, batch, plain) else block
            _product(asked, layer, times, steps, training, known, at_once)
        else:
            asked["call"] += steps
            asked[_figure(layer)] += times * _numbers(layer)
        if layer.storage is Storage.MASKED and "mask_element" in known:
            asked["call"] += 2 * steps
            asked["mask_element"] += steps * layer.weights
        if training:
            asked["tensor"] += steps * layer.tensors
    if cache_bytes:
        _cached(asked, layers, samples, batch, training, cache_bytes)
    asked["page"] = steps * _fresh_bytes(layers, batch, training) / _PAGE_BYTES
    return asked


def _cached(
    asked: Counts,
    layers: Sequence[LayerWork],
    samples: float,
    batch: float,
    training: bool,
    cache_bytes: float,
) -> None:
    """What is out of the cache when it is wanted, and what is still in it."""
    numbers, once = (
        sum(layer.inputs + layer.outputs for layer in layers if layer.once is how)
        for how in (False, True)
    )
    made_bytes = _NUMBER_BYTES * (batch * numbers + once)
    every = samples * numbers + samples / batch * once
    asked["cold_element"] = every * made_bytes / (made_bytes + cache_bytes)
    if not training:
        # weights that the cache keeps from one forward pass to the next; training drives them out
        held_bytes = _NUMBER_BYTES * sum(layer.nonzero for layer in layers if not layer.composed)
        share = held_bytes / (held_bytes + cache_bytes)
        for name in ("weight_rate", "conv_weight_rate"):
            asked[name] *= share


def _figure(layer: LayerWork) -> str:
    if layer.kind is Kind.POOL:
        return "pool_element" if "max" in layer.name else "mean_element"
    return {Kind.ACTIVATION: "element", Kind.NORM: "norm_element"}.get(layer.kind, "move_element")


def _numbers(layer: LayerWork) -> int:
    return layer.inputs + layer.outputs if layer.kind is Kind.OTHER else layer.outputs


def _sparse(
    asked: Counts,
    layer: LayerWork,
    samples: float,
    steps: float,
    training: bool,
    known: Collection[str],
) -> None:
    """By stored entry: once a step, once a sample, and again where inputs need gradients."""
    held = layer.storage.value
    asked[f"{held}_call" if f"{held}_call" in known else "call"] += steps
    asked[f"{held}_entry"] += steps * layer.nonzero
    asked[f"{held}_weight"] += samples * layer.nonzero
    asked["sparse_element"] += samples * (layer.inputs + layer.outputs)
    if training and layer.products > 1:
        asked[f"{held}_back"] += steps * layer.nonzero


def _product(
    asked: Counts,
    layer: LayerWork,
    times: float,
    steps: float,
    training: bool,
    known: Collection[str],
    block: int,
) -> None:
    """A matrix product or a convolution, so many times: its FLOP, its weights, its numbers.

    Of a block of 0, a convolution as a plain matrix product.
    """
    products = 1 + layer.products if training else 1
    flops = FLOP_PER_MAC * layer.macs * products * times
    # what was composed is not updated, its factors are
    updated = _UPDATE * (training and not layer.composed)
    touched = _NUMBER_BYTES * steps * layer.weights * (products + updated)
    if layer.kind is Kind.DEPTHWISE and "depthwise_element" in known:
        asked["conv_call"] += steps
        asked["depthwise_element"] += times * (layer.inputs + layer.outputs)
        return
    convolves = layer.kind is not Kind.LINEAR and "conv_rate" in known
    if convolves:
        # without its input's gradient, backward reads it once instead of reading and making it
        passed = layer.inputs if layer.products > 1 else layer.inputs / 2
        asked["conv_element"] += times * (passed + layer.outputs)
    if not block or not convolves:
        asked["call"] += steps
        asked["dense_rate"] += flops
        asked["weight_rate"] += touched
        if convolves and layer.window > 1:
            asked["unfold_element"] += times * products * layer.macs / _filters(layer)
        return
    flops *= _filled(layer, block)
    positions = layer.macs / layer.weights
    asked["conv_call"] += steps
    asked["conv_weight_rate"] += touched
    asked["conv_rate"] += flops
    asked["conv_inputs"] += flops / layer.channels
    asked["conv_outputs"] += flops / _filters(layer)
    asked["conv_positions"] += flops / positions


def _filters(layer: LayerWork) -> float:
    return layer.weights / (layer.channels * layer.window)


def _filled(layer: LayerWork, block: int) -> float:
    """What is computed over what is asked: channels come in whole blocks.

    Fewer input channels than a block are read as they are.
    """
    filters = _filters(layer)
    filled = ceil(filters / block) * block / filters
    if layer.channels > block:
        filled *= ceil(layer.channels / block) * block / layer.channels
    return filled


def _is_plain(layer: LayerWork, batch: float, plain: Plain) -> bool:
    if plain == "none" or layer.kind is not Kind.CONV:
        return False
    strided = layer.macs / layer.weights < 0.8 * layer.inputs / layer.channels
    if plain == "lone_and_pointwise" and layer.window == 1 and not strided:
        return batch < _POINTWISE_BATCH
    return batch == 1 and layer.window <= _LONE_WINDOW and layer.inputs <= _LONE_NUMBERS


def _fresh_bytes(layers: Sequence[LayerWork], batch: float, training: bool) -> float:
    """Bytes of a step's tensors for which the system is asked anew, and has to clear first."""
    made: list[float] = []
    for layer in layers:
        times = 1 if layer.once else batch
        made.append(_NUMBER_BYTES * layer.outputs * times)
        if training:
            # backward's: of the input where it has a gradient, of the weight
            if layer.passes_back:
                made.append(_NUMBER_BYTES * layer.inputs * times)
            made.append(_NUMBER_BYTES * layer.nonzero)
    mapped = sum(size for size in made if size >= _MAPPED_BYTES)
    largest = max((size for size in made if size < _MAPPED_BYTES), default=0.0)
    pruned = sum(layer.weights - layer.nonzero for layer in layers if not layer.shares)
    trained = sum(layer.parameters for layer in layers) - pruned
    gradients = _NUMBER_BYTES * trained if training else 0
    return mapped + (gradients if gradients > _TRIMMED * largest else 0)
