"""How a run uses this machine: where its store lies, and what runs its training."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import Final

import torch

from simfl.assembly import computed_by, one_thread
from simfl.errors import ScenarioError
from simfl.learning.chain import ChainNetwork
from simfl.memo import Disk, Executor, Inline, Shared
from simfl.memo.auto import Auto
from simfl.memo.executor import Batched
from simfl.memo.pool import Pool
from simfl.running import Parts

STORE_NAME: Final = ".simfl"
_MODELS_SHARED: Final = 6
_STACKED_ON_GPU: Final = 256


class ExecutorName(StrEnum):
    """What runs the training."""

    auto = "auto"
    inline = "inline"
    batched = "batched"
    pool = "pool"
    cuda = "cuda"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a run may use of this machine; no figure that it writes depends on it.

    Attributes:
        store: folder of the store; None for none.
        shared: instead, a directory or URL that many machines share.
        executor: what runs the training; ``auto`` measures.
        workers: processes of a pool.
    """

    store: Path | None = None
    shared: str | None = None
    executor: ExecutorName = ExecutorName.auto
    workers: int = field(default_factory=cores)

    @property
    def device(self) -> str:
        """Where PyTorch computes.

        Raises:
            ScenarioError: no GPU that PyTorch can use.
        """
        if self.executor is not ExecutorName.cuda:
            return "cpu"
        if not torch.cuda.is_available():
            raise ScenarioError(
                "--executor cuda: PyTorch finds no CUDA here; install its CUDA build, or take "
                "--executor auto"
            )
        return "cuda"

    def open_store(self, parts: Parts) -> Disk | Shared | None:
        """The store, as this run sees it.

        Raises:
            StoreError: it cannot be made, or is damaged.
        """
        if self.shared is not None:
            return Shared(self.shared, computed_by(parts))
        if self.store is None:
            return None
        problem = parts.problem
        algorithm, model = parts.scenario.learning.algorithm.name, problem.architecture.name
        label = f"{algorithm} {model} {problem.dataset.name} seed {problem.seed}"
        return Disk(self.store, computed_by(parts), label)

    def make_executor(self, parts: Parts) -> Executor:
        """What was asked for; ``auto`` chooses among all that could be faster than one by one."""
        name, problem = self.executor, parts.problem
        stackable = isinstance(problem.network(problem.layout), ChainNetwork)
        if name is ExecutorName.inline:
            return Inline()
        if name is ExecutorName.cuda:
            return Batched(_STACKED_ON_GPU)
        if name is ExecutorName.batched:
            return Batched()
        pool = Pool(
            parts.algorithm,
            workers=self.workers,
            shared_bytes=2**20 + _MODELS_SHARED * 4 * problem.layout.size,
            ready=problem.prepare,
            prepare=one_thread,
            # a process that computed gradients by autograd beside a GPU cannot be forked
            method=None if stackable or not torch.cuda.is_available() else "spawn",
        )
        if name is ExecutorName.pool:
            return pool
        several = [pool] if self.workers > 1 else []
        return Auto([*several, *([Batched()] if stackable else []), Inline()], ideal=self.workers)


def end_with_parent() -> None:
    """Called in a worker: its life ends with its parent's, even where that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    Thread(target=follow, daemon=True).start()


def store_beside(trace: Path) -> Path:
    """The store that traces of one folder share."""
    return trace.parent / STORE_NAME
