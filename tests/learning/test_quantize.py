from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.algorithms.fedavg import told
from simfl.learning.problem import Problem
from simfl.learning.quantize import quantised
from simfl.learning.state import Received
from simfl.precision import int8_scale, rounded
from simfl.registry import ALGORITHMS
from simfl.tensors import NamedTensors, Payload
from simfl.work import Participant

NAN, INF = float("nan"), float("inf")
FLOATS = st.lists(
    st.floats(width=32) | st.sampled_from([NAN, INF, -INF, -0.0, 1e-45, 3.4028234663852886e38]),
    max_size=12,
)
RATES = {"prunefl": {"rates": [0.2, 0.2, 0.1], "server_samples": 12, "server_epochs": 1}}
DTYPE = pytest.mark.parametrize("dtype", ["float16", "int8"])


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.view(torch.int32).tolist()


@DTYPE
@given(FLOATS)
def test_done_twice_it_is_done_once(dtype: Any, numbers: list[float]) -> None:
    once = rounded(torch.tensor(numbers, dtype=torch.float32), dtype)
    assert bits(rounded(once, dtype)) == bits(once)


@given(FLOATS)
def test_an_int8_is_off_by_half_a_scale_at_most(numbers: list[float]) -> None:
    values = torch.tensor(numbers, dtype=torch.float32)
    scale, finite = int8_scale(values), values.isfinite()
    found = rounded(values, "int8")
    assert ((found - values)[finite].double().abs() <= scale * 0.51).all()
    assert found[~finite].isnan().all()
    steps = found[finite].double() / (scale or 1)
    assert torch.equal(steps, steps.round())
    assert (steps.abs() <= 127).all()


@given(FLOATS)
def test_a_float16_is_the_nearest(numbers: list[float]) -> None:
    values = torch.tensor(numbers, dtype=torch.float32)
    found = rounded(values, "float16")
    inside = values.abs() <= 65504
    assert bits(found[inside]) == bits(values[inside].half().float())
    beyond = values.abs() > 65504
    assert torch.equal(found[beyond], values[beyond].sign() * 65504)
    assert found[values.isnan()].isnan().all()


def test_by_hand() -> None:
    values = torch.tensor([127.0, -64.4, 0.5, 1.5, -0.2, NAN, -INF])
    expected = [127.0, -64.0, 0.0, 2.0, 0.0, NAN, NAN]
    assert bits(rounded(values, "int8")) == bits(torch.tensor(expected))
    halves = rounded(torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, 1e6, -INF, -0.0]), "float16")
    assert bits(halves) == bits(torch.tensor([1.0, 1 + 2**-9, 65504, -65504, -0.0]))


def test_a_scale_has_sixteen_bits_and_nothing_is_cut_off() -> None:
    assert int8_scale(torch.tensor([1.0])) == 33027 / 2**22
    assert int8_scale(torch.zeros(3)) == 0.0
    assert int8_scale(torch.tensor([NAN, INF])) == 0.0


@DTYPE
def test_vectors_stay_as_they_are(dtype: Any) -> None:
    tensors = {
        "w": torch.tensor([[1 / 3, 2 / 3]]),
        "b": torch.tensor([1 / 3]),
        "c": torch.tensor(0.1),
    }
    payload = Payload(NamedTensors.pack(tensors), known=True)
    found = quantised(payload, dtype)
    assert not torch.equal(found.tensors["w"], tensors["w"])
    assert torch.equal(found.tensors["b"], tensors["b"])
    assert torch.equal(found.tensors["c"], tensors["c"])
    assert (found.dtype, found.known) == (dtype, True)
    assert [t.dtype for t in found.manifest().tensors] == [dtype, "float32", "float32"]
    assert torch.equal(payload.tensors["w"], tensors["w"])


@DTYPE
@pytest.mark.parametrize(("name", "options"), [("fedavg", {}), ("prunefl", {"level": 2})])
def test_what_is_shared_is_quantised_and_what_is_held_is_not(
    make_problem: Callable[..., Problem], name: str, options: dict[str, Any], dtype: Any
) -> None:
    problem, plugin = make_problem(quantize=dtype), ALGORITHMS.get(name)
    algorithm = plugin.build(plugin.options(**options | RATES.get(name, {})), problem)
    state, rules = algorithm.initial(), algorithm.counts
    payload = algorithm.share(state)
    assert payload.dtype == dtype
    assert bits(quantised(payload, dtype).tensors.flat) == bits(payload.tensors.flat)
    assert payload.manifest() == rules["share"](algorithm, state.manifest())
    received = Received(payload, Participant(index=0, samples=15))
    counted = Received(payload.manifest(), received.sender)
    held = algorithm.adopt(None, received)
    # what it was sent, the server knows
    first = told(state.manifest())
    assert held.manifest() == rules["adopt"](algorithm, None, counted) == first
    everybody = [Participant(index=i, samples=15) for i in range(problem.clients)]
    mean = algorithm.aggregate(state, tuple(Received(payload, who) for who in everybody))
    received_counts = tuple(Received(counted.payload, who) for who in everybody)
    foretold = rules["aggregate"](algorithm, state.manifest(), received_counts)
    assert mean.manifest() == foretold == first
