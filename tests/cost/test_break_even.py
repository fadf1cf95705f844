from typing import Any

import pytest

from simfl.cost.break_even import break_even, break_even_of, break_evens
from simfl.cost.device import Device
from simfl.cost.linear_nnz import LinearNnz
from simfl.devices import load_device
from simfl.work import Passes, Storage

SOURCE = {"kind": "measured", "source": "the bench in the corner", "log_sd": 0.1}


def bench(**train: str) -> Device:
    kernels = {name: {"value": value, **SOURCE} for name, value in train.items()}
    return Device.model_validate(
        {
            "name": "bench",
            "description": "a board of round numbers",
            "stack": "none",
            "ram": {"value": "1 GiB", **SOURCE},
            "memory_rate": {"value": "1 GB/s", **SOURCE},
            "cost": {"kind": "compact", "train": kernels},
        }
    )


@pytest.mark.parametrize("floor", [{}, {"step": "5 ms"}])
def test_closed_form(floor: dict[str, str]) -> None:
    # dense 6 FLOP at 6 GFLOP/s: 1 ns a weight and sample; stored 4 ns
    board = bench(dense_rate="6 Gflop/s", coo_weight="4 ns", csr_weight="10 ns", **floor)
    assert break_even(board) == pytest.approx(0.25, rel=1e-5)
    assert break_even(board, Storage.CSR) == pytest.approx(0.1, rel=1e-5)
    assert break_even(board, inputs=784, outputs=300, batch=1) == pytest.approx(0.25, rel=1e-4)


def test_always_and_unknown() -> None:
    assert break_even(bench(dense_rate="6 Gflop/s", coo_weight="0.5 ns")) == 1
    assert break_even(bench(dense_rate="6 Gflop/s")) is None
    assert break_even(bench(coo_weight="4 ns")) is None


def test_never_where_what_is_sparse_costs_more_however_little_is_stored() -> None:
    entries = [
        {"model": "", "batch": 20, "storage": held, "step": {"value": step, **SOURCE}}
        for held, step in (("dense", "1 ms"), ("coo", "2 ms"), ("csr", "1 ms"))
    ]
    data = bench(step="1 s").model_dump(mode="json", exclude={"cost", "variation"})
    data = {k: v for k, v in data.items() if v is not None}
    board = Device.model_validate(data | {"cost": {"kind": "fixed", "table": entries}})
    assert break_even(board, Storage.COO) is None
    assert break_even(board, Storage.CSR) == 1


def test_the_pi_4_of_2019_breaks_even_at_14_percent() -> None:
    """1.01 GFLOP/s dense against 45.6 ns a stored weight, linear layers alone.

    The paper's own times, with the convolutions' part in both, give 14 %: 5.68 = 3.97 + 9.68 d/0.8.
    """
    found = break_even(load_device("pi4"))
    assert found == pytest.approx(6 / 1.0125e9 / 45.636e-9, rel=1e-4)
    assert found == pytest.approx(0.14, abs=0.012)


def test_the_journals_kernels() -> None:
    """From the PruneFL code's times alone: 0.62, 1.03, 2.02 and 0.80 of the dense weights."""
    cost = load_device("pi4_prunefl").cost
    assert isinstance(cost, LinearNnz)
    found = {name: break_even_of(model) for name, model in cost.models.items()}
    expected = {
        "conv2_leaf": 0.62,
        "vgg11_small_fc": 1.03,
        "conv4_leaf_celeba": 2.02,
        "resnet18": 0.80,
    }
    assert found == {name: pytest.approx(d, abs=0.006) for name, d in expected.items()}
    assert break_evens(load_device("pi4_prunefl")) == found


def test_what_a_device_says_of_sparse_weights() -> None:
    assert list(break_evens(load_device("pi4"))) == ["linear layers as coo, train"]
    assert break_evens(load_device("phone_big_flash")) == {}
    both: dict[str, Any] = break_evens(bench(dense_rate="6 Gflop/s", csr_weight="4 ns"))
    assert both == {"linear layers as csr, train": pytest.approx(0.25, rel=1e-4)}
    assert Passes.FORWARD.value not in " ".join(both)
