"""Memory by hand, and against PyTorch's own allocator."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from simfl.cost.memory import HEAP, allocated_bytes, held_bytes, largest_batch, peak_bytes
from simfl.models.count import operations, workload
from simfl.models.low_rank import LowRankConv2d, LowRankLinear
from simfl.work import Passes, Storage, Workload


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def step(batch: int = 1, slots: int = 0, passes: Passes = Passes.TRAIN) -> Workload:
    work = workload(mlp(), (4,), batch=batch, passes=passes)
    return replace(work, slots=slots)


# 4 x 3 + 3 and 3 x 2 + 2 parameters
PARAMETERS = 15 + 8


@pytest.mark.parametrize(("slots", "each"), [(0, 1), (1, 2), (2, 3)])
def test_parameters_and_slots_are_held(slots: int, each: int) -> None:
    assert held_bytes(step(slots=slots)) == each * 4 * PARAMETERS


def test_a_step_by_hand() -> None:
    # of a sample: 4 numbers of input and the 3 of ReLU's result are kept. With few samples the end
    # of the backward pass is the worst: all gradients, the input, and the gradient of fc1's result
    assert allocated_bytes(step(1)) == 4 * (2 * PARAMETERS + 4 + 3)
    # with many, ReLU going back: input, result, and its gradients at both ends; fc2's gradients
    assert allocated_bytes(step(50)) == 4 * (PARAMETERS + 8 + 50 * (4 + 3 + 3 + 3))
    assert allocated_bytes(step(20, slots=1)) == 4 * (2 * PARAMETERS + 8 + 20 * 13)


def test_a_forward_pass_by_hand() -> None:
    # the input, which the caller holds, and ReLU's argument and result
    assert allocated_bytes(step(7, slots=1, passes=Passes.FORWARD)) == 4 * (PARAMETERS + 7 * 10)


def test_what_passes_leaves_holes() -> None:
    work = step(10)
    held = held_bytes(work)
    assert peak_bytes(work) == held + HEAP * (allocated_bytes(work) - held)


def test_nothing_is_known_of_work_without_layers() -> None:
    assert peak_bytes(Workload(moved_bytes=10**9, batch=4)) == 0
    assert largest_batch(Workload(), 10**9) == 0


def stored(storage: Storage, nonzero: int) -> Workload:
    """The perceptron with its first layer held so."""
    first, *rest = step().layers
    layers = (replace(first, storage=storage, nonzero=nonzero), *rest)
    return replace(step(), layers=layers)


def test_storage_by_hand() -> None:
    rest = 4 * (PARAMETERS - 12)
    # weight, mask and product
    assert held_bytes(stored(Storage.MASKED, 5)) == rest + 3 * 4 * 12
    # value and two indices of 8 bytes; with momentum, a value more
    coo = stored(Storage.COO, 5)
    assert held_bytes(coo) == rest + 5 * (4 + 16)
    assert held_bytes(replace(coo, slots=1)) == 2 * rest + 5 * (4 + 16 + 4)
    # value and column, and where each of the three rows begins and ends
    assert held_bytes(stored(Storage.CSR, 5)) == rest + 5 * (4 + 8) + 4 * 8


def test_a_coordinate_list_that_is_nearly_full_takes_more_than_the_dense_weight() -> None:
    assert peak_bytes(stored(Storage.COO, 11)) > peak_bytes(step())


LAYERS: list[tuple[Callable[[], nn.Module], list[tuple[str, int]]]] = [
    # the input is kept with the first; ReLU's result, which fc2 reads
    (mlp, [("0.weight", 4), ("relu", 3), ("2.weight", 0)]),
    # conv keeps the input, normalisation its own, ReLU in place its result, in the same storage
    (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)),
        [("0.weight", 36 + 2 * 16), ("1.weight", 2 * 16), ("relu", 0)],
    ),
    # pooling keeps what it reads (ReLU's result, kept already) and int64 indices: two numbers each
    (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)),
        [("0.weight", 36), ("relu", 2 * 16), ("max_pool2d_with_indices", 2 * (2 * 4))],
    ),
    # an average keeps only its input's shape
    (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.AvgPool2d(4)),
        [("0.weight", 36), ("sigmoid", 2 * 16), ("avg_pool2d", 0)],
    ),
]


@pytest.mark.parametrize(("build", "expected"), LAYERS)
def test_what_is_kept(build: Callable[[], nn.Module], expected: list[tuple[str, int]]) -> None:
    shape = (4,) if build is mlp else (1, 6, 6)
    found = [(o.name, o.kept_bytes // 4) for o in operations(build, shape)]
    assert found == expected


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = x = self.one(x)
        y = torch.relu(self.norm(self.two(y)))
        out: Tensor = self.fc((x + y).flatten(1))
        return out


def vgg() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 5)),
    )


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 5))


def of_factors() -> nn.Module:
    return nn.Sequential(
        *(LowRankConv2d(nn.Conv2d(3, 32, 3, padding=1), 2, drawn="scaled"), nn.ReLU()),
        *(nn.MaxPool2d(2), LowRankConv2d(nn.Conv2d(32, 64, 3, padding=1), 9, drawn="scaled")),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(LowRankLinear((128, 1024), 20, bias=True, drawn="scaled"), nn.ReLU()),
        nn.Linear(128, 5),
    )


def most_in_use(
    build: Callable[[], nn.Module], shape: tuple[int, ...], batch: int, path: Path
) -> int:
    """By PyTorch's record of what its allocator gives out, over two steps with momentum."""
    labels = torch.zeros(batch, dtype=torch.long)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        # all that is counted is made in here
        module, x = build(), torch.randn(batch, *shape)
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            cross_entropy(module(x), labels).backward()
            optimizer.step()
    profiler.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    memory = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    return max(accumulate(nbytes for _, nbytes in memory))


@pytest.mark.parametrize("batch", [4, 64])
@pytest.mark.parametrize(
    ("build", "shape", "off"),
    [
        (perceptron, (1, 28, 28), 0.02),
        (vgg, (3, 16, 16), 0.05),
        (of_factors, (3, 16, 16), 0.05),
        # both inputs of the addition are said to get a gradient of their own, and one does
        (Residual, (16, 8, 8), 0.14),
    ],
)
def test_what_is_counted_is_what_pytorchs_allocator_gives_out(
    build: Callable[[], nn.Module], shape: tuple[int, ...], off: float, batch: int, tmp_path: Path
) -> None:
    work = replace(workload(build(), shape, batch=batch), slots=1)
    found = most_in_use(build, shape, batch, tmp_path / "trace.json")
    assert allocated_bytes(work) == pytest.approx(found, rel=off)


@given(
    room_bytes=st.integers(0, 10_000),
    slots=st.integers(0, 2),
    passes=st.sampled_from(Passes),
)
def test_the_largest_batch_fits_and_the_next_does_not(
    room_bytes: int, slots: int, passes: Passes
) -> None:
    work = WORKS[passes]
    work = replace(work, slots=slots)
    most = largest_batch(work, room_bytes)
    assert most == 0 or peak_bytes(replace(work, batch=most)) <= room_bytes + 1e-6
    assert peak_bytes(replace(work, batch=most + 1)) > room_bytes - 1e-6


WORKS = {passes: step(passes=passes) for passes in Passes}
