"""The points of a sweep on a Ray cluster.

A task goes to whichever node has the cores for it, and brings back its trace; this machine alone
writes the folder of traces. Where a node dies, Ray gives what ran there to another: that one finds
in the shared store what was computed, and a point that had ended is not run again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import chdir, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from platform import node
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from simfl.assembly import backend
from simfl.errors import ExecutorError, ScenarioError, StoreError
from simfl.grid import Players, chained
from simfl.hosting import ExecutorName, Host
from simfl.keys import digest_of_files
from simfl.memo import Shared
from simfl.simulation import claimed
from simfl.tasks import Row, Task, failed, play, row_of, standing

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

# where a node looks for data sets, as this machine does
_PASSED_ON: Final = ("SIMFL_DATA", "XDG_CACHE_HOME")
# how often a task is given to another node, as Ray's default; beyond, the task may be the cause
_RETRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a node is given.

    Attributes:
        task: what to do.
        begun: its trace so far, if any.
        data_dir: where data sets lie.
        host: store and executor.
        code: of this machine, by digest.
        cwd: the folder to which paths of devices are relative.
    """

    task: Task
    begun: bytes | None
    data_dir: Path | None
    host: Host
    code: str
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A task done on a node.

    Attributes:
        row: its row.
        trace: the trace's file; None if none was begun.
        backend: what of the node decides the last bits.
    """

    row: Row
    trace: bytes | None = None
    backend: str | None = None


def on_ray(address: str | None = None) -> Players:
    """On a Ray cluster.

    Args:
        address: as `ray.init` takes it, such as ``auto``, ``host:6379`` or ``ray://host:10001``;
            None for the cluster that RAY_ADDRESS names or that runs here, else a new one of this
            machine alone. A program that is connected already stays so.
    """
    return partial(_played, address)


def _played(
    address: str | None, groups: list[list[Task]], data_dir: Path | None, host: Host
) -> Iterator[tuple[int, Row]]:
    """Done on the cluster, and each trace written as it arrives.

    Raises:
        ScenarioError: Ray is not installed.
        ExecutorError: there is no such cluster, or it is gone.
        StoreError: the store is gone.
    """
    ray = _import_ray()
    assert host.shared is not None
    Shared.make(host.shared)
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=address, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            where = address or "here"
            raise ExecutorError(f"--ray {where}: {_line(error)}; is the cluster up?") from error
    try:
        yield from _on_cluster(ray, groups, data_dir, host)
    finally:
        if ours:
            # and with it what is still running
            ray.shutdown()


def _on_cluster(
    ray: ModuleType, groups: list[list[Task]], data_dir: Path | None, host: Host
) -> Iterator[tuple[int, Row]]:
    remote = ray.remote(_do).options(
        name="simfl point",
        num_cpus=host.workers,
        num_gpus=int(host.executor is ExecutorName.cuda),
        max_retries=_RETRIES,
        runtime_env={"env_vars": {n: os.environ[n] for n in _PASSED_ON if n in os.environ}},
    )

    def start(task: Task) -> Future[_Done]:
        trace = standing(task)
        if trace is not None:
            ended: Future[_Done] = Future()
            ended.set_result(_Done(row=row_of(task, trace)))
            return ended
        work = _Work(
            task=task,
            begun=task.out.read_bytes() if task.out.exists() else None,
            data_dir=data_dir,
            host=host,
            code=_code(),
            cwd=Path.cwd(),
        )
        submitted: Future[_Done] = remote.remote(work).future()
        return submitted

    ours = None if host.executor is ExecutorName.cuda else backend("cpu")
    for task, ended in chained(groups, start):
        try:
            done = ended.result()
        except ray.exceptions.RayTaskError as error:
            # no fault of the cluster
            if isinstance(error.cause, StoreError):
                raise error.cause from error
            raise
        except ray.exceptions.RayError as error:
            reason = f"its node or process died {_RETRIES + 1} times, or is gone ({_line(error)})"
            yield task.number, failed(task, reason)
            continue
        _write(task, done.trace)
        ours = ours or done.backend
        if done.backend not in (None, ours):
            log.warning(
                "%s: computed by %s, not by %s: may differ in its last bits from other points",
                *(task.out, done.backend, ours),
            )
        yield task.number, done.row


def _do(work: _Work) -> _Done:
    """On a node: a task, in a folder of its own."""
    task = work.task
    if work.code != _code():
        return _Done(row=failed(task, f"{node()} has another version of simfl; install this one"))
    with TemporaryDirectory(prefix="simfl-") as scratch:
        inside = replace(task, out=Path(scratch) / task.out.name)
        if work.begun is not None:
            inside.out.write_bytes(work.begun)
        with chdir(work.cwd) if work.cwd.is_dir() else nullcontext():
            row = play(inside, work.data_dir, work.host) | {"trace": str(task.out)}
        if not inside.out.exists():
            return _Done(row=row)
        return _Done(row=row, trace=inside.out.read_bytes(), backend=backend(work.host.device))


@lru_cache(maxsize=1)
def _code() -> str:
    """The code of simfl, by digest."""
    return digest_of_files(list(Path(__file__).parent.rglob("*.py")))


def _write(task: Task, trace: bytes | None) -> None:
    """The trace, whole or not at all."""
    if trace is None:
        return
    with claimed(task.out):
        beside = task.out.with_name(task.out.name + ".part")
        beside.write_bytes(trace)
        beside.replace(task.out)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ScenarioError(
            "--ray: Ray is not installed; pip install 'simfl[ray]', or take --jobs"
        ) from error
    return ray


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
