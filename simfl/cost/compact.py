"""The compact model: a training step from a handful of figures about kernels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from math import exp, log
from typing import Annotated, Final, Literal

from pydantic import Field

from simfl.cost.demand import Plain, demand
from simfl.cost.figures import Amount, Doubtful, FlopRate, MemoryRate, Ratio, Time
from simfl.errors import CostError
from simfl.options import Options, Positive
from simfl.work import LayerWork, Passes, Workload

_THIRD: Final = 1 / 3
RATES: Final = ("dense_rate", "conv_rate", "weight_rate", "conv_weight_rate")
"""Figures that are counts per second: of FLOP, and of bytes."""
SLOWED: Final = ("conv_inputs", "conv_outputs", "conv_positions")
"""Figures that are multiples of the time of ``conv_rate``."""


class Kernels(Options):
    """What kernels take, in one sort of pass.

    A figure that is left out costs nothing by itself: where only ``step`` and ``dense_rate`` are
    known, these have the rest in them. ``demand`` says what is counted for each.

    Attributes:
        step: floor of one step: loop, loss, optimiser.
        tensor: one tensor of parameters in the optimiser.
        call: one operation called, forward and, in training, backward.
        conv_call: one convolution or depthwise convolution called.
        dense_rate: FLOP of matrix products; of convolutions too, where ``conv_rate`` is left out.
        weight_rate: bytes of their weights read, their gradients written, and both in SGD.
        conv_rate: FLOP of large convolutions.
        conv_weight_rate: bytes of their weights, as ``weight_rate``.
        conv_inputs: input channels at which a convolution's FLOP take twice as long.
        conv_outputs: output channels likewise.
        conv_positions: output positions likewise.
        conv_element: one number into or out of a convolution.
        unfold_element: one number that a convolution as a plain matrix product copies its input to.
        depthwise_element: one number into or out of a depthwise convolution.
        element: one number out of an activation function.
        norm_element: one number out of a normalisation.
        pool_element: one number out of a max pooling.
        mean_element: one number out of an average pooling.
        move_element: one number into or out of an addition or a concatenation.
        cold_element: one number into or out of any operation, when it is out of the cache.
        mask_element: one weight multiplied by its mask.
        page: 4 KiB of memory that the system clears.
        coo_call: one layer held as a coordinate list.
        coo_entry: one of its stored weights, once a step.
        coo_back: one of its stored weights, once a step, for the gradient of the layer's input.
        coo_weight: one of its stored weights and one sample.
        csr_call: one layer held as compressed rows; the next three as for ``coo``.
        csr_entry: once a step.
        csr_back: for the gradient of the layer's input.
        csr_weight: one stored weight and one sample.
        sparse_element: one number into or out of a layer held sparse.
    """

    step: Time | None = None
    tensor: Time | None = None
    call: Time | None = None
    conv_call: Time | None = None
    dense_rate: FlopRate | None = None
    weight_rate: MemoryRate | None = None
    conv_rate: FlopRate | None = None
    conv_weight_rate: MemoryRate | None = None
    conv_inputs: Ratio | None = None
    conv_outputs: Ratio | None = None
    conv_positions: Ratio | None = None
    conv_element: Time | None = None
    unfold_element: Time | None = None
    depthwise_element: Time | None = None
    element: Time | None = None
    norm_element: Time | None = None
    pool_element: Time | None = None
    mean_element: Time | None = None
    move_element: Time | None = None
    cold_element: Time | None = None
    mask_element: Time | None = None
    page: Time | None = None
    coo_call: Time | None = None
    coo_entry: Time | None = None
    coo_back: Time | None = None
    coo_weight: Time | None = None
    csr_call: Time | None = None
    csr_entry: Time | None = None
    csr_back: Time | None = None
    csr_weight: Time | None = None
    sparse_element: Time | None = None

    @cached_property
    def units_s(self) -> Mapping[str, float]:
        """Seconds of one count of each figure that is known."""
        found: dict[str, float] = {}
        for name in type(self).model_fields:
            figure: Doubtful | None = getattr(self, name)
            if figure is not None:
                value: float = figure.value  # type: ignore[attr-defined]
                found[name] = 1 / value if name in RATES else value
        for name in SLOWED:
            # a ratio: so many times the seconds of the FLOP themselves
            if name in found:
                found[name] *= found.get("conv_rate", 0.0)
        return found


class Anchor(Options):
    """How far one network's step was from what the kernels' figures say of it.

    Attributes:
        model: the network.
        passes: ``train``, or ``forward`` alone.
        batch: samples of the step.
        ratio: measured time over predicted time.
    """

    model: str
    passes: Literal["train", "forward"] = "train"
    batch: Positive
    ratio: Ratio


class Errors(Options):
    """How far the figures are from the measurements they were fitted to, as shares of these.

    Attributes:
        cases: how many.
        median: half of the predictions are nearer.
        p90: nine of ten are nearer.
    """

    cases: Positive
    median: Annotated[float, Field(ge=0)]
    p90: Annotated[float, Field(ge=0)]


class Compact(Options):
    """Kernels' figures for training, and for forward passes alone.

    Attributes:
        inference: left out, a forward pass takes a third of a training's kernels (one of three
            products of equal size): arithmetic, not measured.
        session: a training begun anew.
        cache: what one core keeps near; beyond it, ``cold_element`` counts.
        plain: convolutions that are computed as plain matrix products.
        block: channels that the other convolutions compute at once, the last ones filled up; the
            numbers of a vector register.
        anchors: corrections for networks that were measured whole.
        errors: of the fit of ``train``.
        inference_errors: of the fit of ``inference``.
    """

    kind: Literal["compact"]
    train: Kernels | None = None
    inference: Kernels | None = None
    session: Time | None = None
    cache: Amount | None = None
    plain: Plain = "none"
    block: Positive = 1
    anchors: list[Anchor] = Field(default_factory=list)
    errors: Errors | None = None
    inference_errors: Errors | None = None

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's steps.

        Raises:
            CostError: a figure that it needs is not known.
        """
        training = work.passes is Passes.TRAIN
        if self.train is None and (training or self.inference is None):
            if not work.layers and not work.steps:
                return 0.0
            raise CostError("has no figures for training; add cost.train to its file")
        total = self._steps_s(work, training) * self._anchored(work)
        if self.session is not None:
            total += work.sessions * self.session.value
        return total

    def _steps_s(self, work: Workload, training: bool) -> float:
        whole = training or self.inference is None
        kernels = self.train if whole else self.inference
        assert kernels is not None
        units_s = kernels.units_s
        _refuse_unknown(work.layers, units_s)
        asked = demand(
            work.layers,
            samples=work.samples,
            steps=work.steps,
            training=whole,
            known=units_s.keys(),
            cache_bytes=0.0 if self.cache is None else self.cache.value,
            plain=self.plain,
            block=self.block,
        )
        floor_s = asked.pop("step") * units_s.get("step", 0.0)
        kernels_s = sum(count * units_s.get(name, 0.0) for name, count in asked.items())
        return floor_s + kernels_s * (1.0 if training or not whole else _THIRD)

    def _anchored(self, work: Workload) -> float:
        """The factor between the nearest anchors of this network, by the logarithm of the batch."""
        known = sorted(
            (log(anchor.batch), log(max(anchor.ratio.value, 1e-9)))
            for anchor in self.anchors
            if anchor.model == work.model and anchor.passes == work.passes.value
        )
        if not known or not work.steps or not work.samples:
            return 1.0
        at = min(max(log(work.samples / work.steps), known[0][0]), known[-1][0])
        for (low, before), (high, after) in pairwise(known):
            if low <= at <= high:
                share = (at - low) / (high - low) if high > low else 0.0
                return exp(before + (after - before) * share)
        return exp(known[0][1])


def _refuse_unknown(layers: tuple[LayerWork, ...], known: Mapping[str, float]) -> None:
    for layer in layers:
        if layer.storage.sparse:
            needed, kind = f"{layer.storage.value}_weight", "sparse"
        elif layer.macs:
            needed, kind = "dense_rate", "dense"
        else:
            continue
        if needed not in known:
            raise CostError(
                f"has no figure for {kind} layers ({layer.name}); add {needed} to its file, or "
                "hold the model otherwise"
            )
