"""From which density on sparse weights pay, by a device's own figures.

There is no constant: with the Pi 4's coordinate lists of 2019 it is some 13 %, with kernels written
for the purpose 60 % or always, with a desktop's products never.
"""

from __future__ import annotations

from typing import Final

from simfl.cost.compact import Compact
from simfl.cost.device import Device
from simfl.cost.linear_nnz import LinearNnz, NnzModel
from simfl.errors import CostError
from simfl.work import Kind, LayerWork, Passes, Storage, Workload

_WIDTH: Final = 1024
_BATCH: Final = 20
_HALVINGS: Final = 40


def break_even(
    device: Device,
    storage: Storage = Storage.COO,
    *,
    inputs: int = _WIDTH,
    outputs: int = _WIDTH,
    batch: int = _BATCH,
    passes: Passes = Passes.TRAIN,
) -> float | None:
    """The density below which a linear layer held sparse takes less time than held dense.

    Args:
        device: with a compact cost model.
        storage: how it is held sparse.
        inputs: of the layer.
        outputs: of the layer.
        batch: samples of a step.
        passes: of a training step, or of an inference.

    Returns:
        1 where sparse always wins; None where it never does, or where a figure is missing.
    """

    def seconds(held: Storage, density: float) -> float:
        layer = LayerWork(
            name="linear",
            kind=Kind.LINEAR,
            macs=inputs * outputs,
            inputs=inputs,
            outputs=outputs,
            weights=inputs * outputs,
            parameters=inputs * outputs,
            tensors=1,
            nonzero=round(density * inputs * outputs),
            storage=held,
        )
        work = Workload(layers=(layer,), samples=batch, steps=1, batch=batch, passes=passes)
        return device.seconds(work)

    try:
        dense_s = seconds(Storage.DENSE, 1)
        low, high = 0.0, 1.0
        if seconds(storage, high) <= dense_s:
            return 1.0
        if seconds(storage, low) >= dense_s:
            return None
    except CostError:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if seconds(storage, middle) < dense_s else (low, middle)
    return low


def break_even_of(model: NnzModel) -> float | None:
    """The density of all layers at which a step of stored weights takes what the dense one does.

    Returns:
        Above 1 where sparse wins however full the layers are; None where it never does, or where
        the dense step was not measured.
    """
    if model.dense_step is None:
        return None
    full_s = sum(w * c for w, c in zip(model.weights, model.coefficients.values, strict=True))
    left_s = model.dense_step.value - model.constant.value
    return left_s / full_s if left_s > 0 and full_s > 0 else None


def break_evens(device: Device) -> dict[str, float | None]:
    """What a device says of sparse weights: by storage and pass, or by model."""
    if isinstance(device.cost, LinearNnz):
        return {name: break_even_of(model) for name, model in device.cost.models.items()}
    if not isinstance(device.cost, Compact):
        return {}
    found: dict[str, float | None] = {}
    for passes in Passes:
        kernels = device.cost.train if passes is Passes.TRAIN else device.cost.inference
        for storage in (Storage.COO, Storage.CSR):
            if kernels is not None and getattr(kernels, f"{storage.value}_weight", None):
                what = f"linear layers as {storage.value}, {passes.value}"
                found[what] = break_even(device, storage, passes=passes)
    return found
