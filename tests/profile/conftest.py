from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from simfl.cost.compact import Kernels
from simfl.cost.demand import demand
from simfl.profile.cases import cases
from simfl.profile.counted import count

MIB = 2**20
# a machine of round numbers: seconds of one count, and per FLOP, per byte
FIGURES = {
    "step": 300e-6,
    "call": 50e-6,
    "conv_call": 400e-6,
    "dense_rate": 1 / 4e9,
    "weight_rate": 1 / 2e9,
    "conv_rate": 1 / 5e9,
    "conv_weight_rate": 1 / 1e9,
    "conv_outputs": 8 / 5e9,
    "conv_element": 8e-9,
    "unfold_element": 12e-9,
    "depthwise_element": 20e-9,
    "norm_element": 30e-9,
    "pool_element": 90e-9,
    "mean_element": 50e-9,
    "cold_element": 4e-9,
    "mask_element": 9e-9,
    "page": 2e-6,
    "coo_call": 800e-6,
    "coo_entry": 90e-9,
    "coo_back": 200e-9,
    "coo_weight": 9e-9,
    "csr_call": 700e-6,
    "csr_entry": 60e-9,
    "csr_back": 300e-9,
    "csr_weight": 5e-9,
    "sparse_element": 30e-9,
}
HOT = 0.85
HOST = {
    "name": "bench",
    "machine": "aarch64",
    "processor": "a board of round numbers",
    "system": "Linux 6",
    "python": "3.11.7",
    "torch": "2.4.0",
    "device": "cpu",
    "threads": 1,
    "ram_bytes": 1024 * MIB,
    "cache_bytes": MIB,
}


def synthetic(figures: Mapping[str, float] = FIGURES, noise: float = 0.03) -> dict[str, Any]:
    """A profile of a machine that is known: its training steps; a third of that for inference."""
    entries, drawn = [], Random(7)
    for case in cases():
        asked = demand(
            count(case),
            samples=case["batch"],
            steps=1,
            training=True,
            known=tuple(Kernels.model_fields),
            cache_bytes=HOST["cache_bytes"],
            plain="lone",
            block=16,
        )
        pages = asked["page"]
        seconds = sum(n * figures.get(name, 0.0) for name, n in asked.items())
        if "loss" not in case:
            seconds *= HOT
        one = {"faults": pages, "jitter": 0.05}
        train = [{"s": seconds * drawn.lognormvariate(0, noise), **one} for _ in range(2)]
        whole = [{"s": 0.3 * each["s"], **one} for each in train]
        entries.append({"case": case, "train": train, "inference": whole})
    return {
        "format": "simfl bench 1",
        "host": dict(HOST),
        "cases": entries,
        "modules": [],
        "import_bytes": 200 * MIB,
        "runtime_bytes": 300 * MIB,
        "copy_bytes_per_s": 2e9,
    }


@pytest.fixture(scope="session")
def figures() -> dict[str, float]:
    return FIGURES


@pytest.fixture(scope="session")
def found() -> dict[str, Any]:
    return synthetic()
