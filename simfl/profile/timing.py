"""How long one step takes on this machine, by its own clocks.

A step is repeated in blocks of some milliseconds. Its time is that of the fastest block, which
other programs have touched least; the spread of the blocks is kept beside it. On one thread of a
CPU that is CPU time, else the time that passes, on a GPU by its own events.

Python and PyTorch only: goes to a board with `bench.py`, as one file.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Result = dict[str, Any]

BLOCK_S = 0.002  # far above the resolution of any clock
FEWEST = 3  # blocks


def _values(sparse: Tensor) -> Tensor:
    # backward gives the entries in the order of the weight's, and does not say so
    return sparse._values() if sparse.layout == torch.sparse_coo else sparse.values()


class Steps:
    """One module and its data, ready to take steps.

    Args:
        module: what is trained.
        shape: of one input.
        batch: samples.
        device: where.
        first: the input needs no gradient.
        loss: ``cross_entropy`` of the outputs, flattened; else a gradient comes from nowhere, in
            no time.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: list[int],
        batch: int,
        device: str,
        *,
        first: bool = True,
        loss: str | None = "cross_entropy",
    ) -> None:
        self.module = module.to(device).train()
        drawn = torch.Generator().manual_seed(0)
        x = torch.randn(batch, *shape, generator=drawn).to(device)
        self.x = x.requires_grad_(not first)
        self.loss = loss
        held = [p for p in self.module.parameters() if p.requires_grad]
        self.sparse = [p for p in held if p.layout != torch.strided]
        dense = [p for p in held if p.layout == torch.strided]
        # so small a rate that no number of steps leads to infinities
        self.optimizer = torch.optim.SGD(dense, lr=1e-6) if dense else None
        with torch.no_grad():
            out = self.module(self.x)
        self.given = torch.randn(out.shape, generator=drawn).to(device)
        self.labels = torch.randint(out[0].numel(), (batch,), generator=drawn).to(device)

    def train(self) -> None:
        """Forward, loss, backward, SGD."""
        self.x.grad = None
        if self.optimizer is not None:
            self.optimizer.zero_grad()
        out = self.module(self.x)
        if self.loss == "cross_entropy":
            loss = functional.cross_entropy(out.flatten(1), self.labels)
            torch.autograd.backward(loss)
        else:
            torch.autograd.backward(out, self.given)
        if self.optimizer is not None:
            self.optimizer.step()
        for held in self.sparse:
            assert held.grad is not None
            # nothing but the stored entries changes: as in PruneFL's sparse layers
            held.data.values().add_(_values(held.grad), alpha=-1e-6)
            held.grad = None

    def inference(self) -> None:
        """Forward alone, nothing kept for a gradient."""
        with torch.no_grad():
            self.module(self.x)


def measure(steps: Steps, sort: str, *, slot_s: float = 0.1) -> Result:
    """Time one sort of step.

    Args:
        steps: of what.
        sort: ``train`` or ``inference``.
        slot_s: how long to go on; at least some blocks are measured.

    Returns:
        Seconds of one step: ``s``, of the fastest block; ``median_s``, of their median; ``wall_s``,
        the median that passed on the wall; ``jitter``, a robust standard deviation of ln(wall);
        ``faults``, pages that a step asked the kernel for; ``blocks`` and ``steps`` in a block.
    """
    step = {"train": steps.train, "inference": steps.inference}[sort]
    steps.module.train(sort == "train")
    on_gpu = steps.x.is_cuda
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    block = _events if on_gpu else _block
    step()
    walls, owns, faults = list[float](), list[float](), list[float]()
    one = max(block(step, 1, clock)[1], 1e-7)
    count = max(1, min(2000, round(BLOCK_S / one)))
    until = time.perf_counter() + slot_s
    while len(owns) < FEWEST or time.perf_counter() < until:
        own, wall, fault = block(step, count, clock)
        owns.append(own / count)
        walls.append(wall / count)
        faults.append(fault / count)
    middle = statistics.median(walls)
    spread = statistics.median(abs(w - middle) for w in walls) / 0.6745 / middle
    return {
        "s": min(owns),
        "median_s": statistics.median(owns),
        "wall_s": middle,
        "jitter": spread,
        "faults": statistics.median(faults),
        "blocks": len(owns),
        "steps": count,
    }


def _block(
    step: Callable[[], None], count: int, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Seconds of the clock, seconds of the wall, page faults."""
    faults = _faults()
    wall, own = time.perf_counter(), clock()
    for _ in range(count):
        step()
    own, wall = clock() - own, time.perf_counter() - wall
    return own, wall, _faults() - faults


def _faults() -> int:
    """Pages that this process has asked the system for; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _events(
    step: Callable[[], None], count: int, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """As `_block`, by the GPU's own events, with its queue empty before and after."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    wall = time.perf_counter()
    begin.record()
    for _ in range(count):
        step()
    end.record()
    torch.cuda.synchronize()
    wall = time.perf_counter() - wall
    return begin.elapsed_time(end) / 1e3, wall, 0.0
