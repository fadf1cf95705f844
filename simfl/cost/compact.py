"""The compact model: a training step from a handful of figures about kernels."""

from __future__ import annotations

from typing import Final, Literal

from simfl.cost.figures import FlopRate, Time
from simfl.errors import CostError
from simfl.options import Options
from simfl.work import Kind, LayerWork, Passes, Storage, Workload

FLOP_PER_MAC: Final = 2.0
_THIRD: Final = 1 / 3


class Kernels(Options):
    """What kernels take, in one sort of pass.

    A figure that is left out costs nothing by itself: where only ``step`` and ``dense_rate`` are
    known, these have the rest in them.

    Attributes:
        step: floor of one step: loop, loss, optimiser.
        call: one operation called, forward and, in training, backward.
        dense_rate: of dense matrix products and convolutions.
        element: one number through an activation function.
        coo_weight: one stored weight of a coordinate list and one sample.
        csr_weight: of compressed rows.
    """

    step: Time | None = None
    call: Time | None = None
    dense_rate: FlopRate | None = None
    element: Time | None = None
    coo_weight: Time | None = None
    csr_weight: Time | None = None


class Compact(Options):
    """Kernels' figures for training, and for forward passes alone.

    Attributes:
        session: a training begun anew.
        inference: left out, a forward pass takes a third of a training's kernels (one of three
            products of equal size): arithmetic, not measured.
    """

    kind: Literal["compact"]
    train: Kernels | None = None
    inference: Kernels | None = None
    session: Time | None = None

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's steps.

        Raises:
            CostError: a figure that it needs is not known.
        """
        training = work.passes is Passes.TRAIN
        kernels, share = self.train, 1.0
        if not training and self.inference is not None:
            kernels = self.inference
        elif not training:
            share = _THIRD
        if kernels is None:
            if not work.layers and not work.steps:
                return 0.0
            raise CostError("has no figures for training; add cost.train to its file")
        total = work.steps * _value(kernels.step)
        if self.session is not None:
            total += work.sessions * self.session.value
        for layer in work.layers:
            total += share * work.steps * _value(kernels.call)
            total += share * work.samples * _sample_seconds(kernels, layer, share < 1 or training)
        return total


def _value(figure: Time | None) -> float:
    return 0.0 if figure is None else figure.value


def _sample_seconds(kernels: Kernels, layer: LayerWork, backward: bool) -> float:
    """One sample through one operation."""
    if layer.storage is Storage.COO:
        return layer.nonzero * _known(kernels.coo_weight, "coo_weight", "sparse", layer)
    if layer.storage is Storage.CSR:
        return layer.nonzero * _known(kernels.csr_weight, "csr_weight", "sparse", layer)
    seconds = 0.0
    if layer.macs:
        rate = _known(kernels.dense_rate, "dense_rate", "dense", layer)
        products = 1 + layer.products if backward else 1
        seconds += layer.macs * FLOP_PER_MAC * products / rate
    if layer.kind is Kind.ACTIVATION:
        seconds += layer.outputs * _value(kernels.element)
    return seconds


def _known(figure: Time | FlopRate | None, name: str, kind: str, layer: LayerWork) -> float:
    if figure is None:
        raise CostError(
            f"has no figure for {kind} layers ({layer.name}); add {name} to its file, or hold the "
            "model otherwise"
        )
    return figure.value
