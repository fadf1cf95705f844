import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from simfl.assembly import one_thread
from simfl.errors import ExecutorError, OptionError
from simfl.learning.problem import Problem
from simfl.learning.state import ModelState
from simfl.memo.executor import Inline
from simfl.memo.pool import Pool
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks
from simfl.work import Turn

MakeProblem = Callable[..., Problem]


class Thing:
    """What crosses once."""

    interned: ClassVar = True
    alive: ClassVar[weakref.WeakSet["Thing"]] = weakref.WeakSet()

    def __init__(self, number: int, inner: "Thing | None" = None) -> None:
        self.number, self.inner = number, inner
        Thing.alive.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Thing, (self.number, self.inner)


class NotToBeSent(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = lambda: reason


class Bench:
    """Verbs of all sorts."""

    def __init__(self) -> None:
        self.calls = 0

    def add(self, *numbers: Any) -> Any:
        return sum(numbers[1:], numbers[0])

    def pid(self) -> int:
        return os.getpid()

    def nap(self, seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    def same(self, value: Any) -> Any:
        return value

    def calls_so_far(self) -> int:
        self.calls += 1
        return self.calls

    def alive(self) -> list[int]:
        return sorted(thing.number for thing in Thing.alive)

    def fail(self, kind: str) -> None:
        if kind == "ours":
            raise OptionError("level", "too high")
        if kind == "closed":
            raise NotToBeSent("a lambda within")
        raise ValueError(kind)

    def give(self, kind: str) -> Any:
        return (lambda: kind) if kind == "lambda" else kind

    def end(self) -> None:
        os._exit(3)

    def threads(self) -> int:
        return torch.get_num_threads()

    def descriptors(self) -> list[str]:
        folder = Path("/proc/self/fd")
        return sorted(os.readlink(path) for path in folder.iterdir() if path.is_symlink())


def nothing() -> None:
    """To be called by a pool that has nothing to get ready."""


@pytest.fixture
def make_pool() -> Iterator[Callable[..., Pool]]:
    """Makes pools of two workers, and closes them."""
    pools: list[Pool] = []

    def make(target: object, **changes: Any) -> Pool:
        options = {
            "workers": 2,
            "shared_bytes": 2**16,
            "ready": nothing,
            "prepare": one_thread,
        } | changes
        pools.append(Pool(target, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def call(pool: Pool, verb: Callable[..., Any], *args: Any) -> Any:
    return pool.start(verb, args).result()


def algorithm_of(name: str, problem: Problem, **options: Any) -> Any:
    plugin = ALGORITHMS.get(name)
    return plugin.build(plugin.options(**options), problem)


def bits(state: ModelState) -> tuple[Any, ...]:
    masks = None if state.masks is None else state.masks.flat.numpy().tobytes()
    return state.tensors.flat.numpy().tobytes(), masks, state.level, state.rounds, state.samples


def turns(executor: Any, algorithm: Any, rounds: int = 2) -> list[Any]:
    """Turns of all clients, twice over, and the scores; each with its start."""
    found: list[Any] = []
    states = [algorithm.initial()] * 4
    for round in range(1, rounds + 1):
        jobs = [
            executor.start(algorithm.train, (state, Turn(client, round)))
            for client, state in enumerate(states)
        ]
        trained = [job.result() for job in jobs]
        found += zip(states, trained, strict=True)
        states = trained
    scores = [executor.start(algorithm.score, (state,)) for state in states]
    return [*found, *(score.result() for score in scores)]


@pytest.mark.parametrize(
    ("name", "options", "changes"),
    [
        ("fedavg", {}, {}),
        ("fedavg", {}, {"momentum": 0.9, "weight_decay": 0.01}),
        ("prunefl", {"level": 3, "initial": "random", "rates": [0.3, 0.2, 0.1]}, {}),
    ],
    ids=["plain", "momentum and decay", "pruned"],
)
def test_the_same_bits_as_in_line(
    make_pool: Callable[..., Pool],
    make_problem: MakeProblem,
    name: str,
    options: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    algorithm = algorithm_of(name, make_problem(**changes), **({"server_samples": 9} | options)
                             if name == "prunefl" else options)  # fmt: skip
    pool = make_pool(algorithm, shared_bytes=2**22, ready=algorithm.problem.prepare)
    here, there = turns(Inline(), algorithm), turns(pool, algorithm)
    assert len(here) == len(there) == 12
    for one, other in zip(here[:8], there[:8], strict=True):
        assert bits(one[1]) == bits(other[1])
        assert bits(one[0]) != bits(one[1])
    assert here[8:] == there[8:]
    for start, trained in there[:8]:
        # what is passed on is the same object still, also after it came back
        assert trained.masks is start.masks
        assert trained.tensors.layout is start.tensors.layout
    if name == "prunefl":
        masks = there[0][0].masks
        assert isinstance(masks, Masks)
        assert not masks.flat.all()
        assert not (there[7][1].tensors.flat[masks.flat == 0]).any()


def test_what_is_interned_crosses_once_and_comes_back_as_itself(
    make_pool: Callable[..., Pool],
) -> None:
    bench = Bench()
    pool = make_pool(bench, workers=1)
    # forked before there is any
    gc.collect()
    assert call(pool, bench.alive) == []
    inner = Thing(2)
    outer = Thing(1, inner)
    for _ in range(3):
        found = call(pool, bench.same, (outer, [inner, outer], "text"))
        assert found[0] is outer
        assert found[1][0] is inner
        assert found[1][1] is outer
        assert call(pool, bench.alive) == [1, 2]
    # what is made over there is another each time
    assert call(pool, bench.same, [1]) is not call(pool, bench.same, [1])


def test_what_is_dropped_here_is_dropped_there(make_pool: Callable[..., Pool]) -> None:
    bench = Bench()
    pool = make_pool(bench, workers=1)
    gc.collect()
    assert call(pool, bench.alive) == []
    things = [Thing(number) for number in range(4)]
    call(pool, bench.same, things)
    assert call(pool, bench.alive) == [0, 1, 2, 3]
    del things[1:3]
    gc.collect()
    assert call(pool, bench.alive) == [0, 3]
    # a new object at the place of an old one is not taken for it
    for number in range(10, 14):
        things[0] = Thing(number)
        assert call(pool, bench.same, things[0]).number == number
        assert call(pool, bench.alive) == [3, number]
    things.clear()
    assert call(pool, bench.alive) == []


@pytest.mark.parametrize("shared_bytes", [64, 2**10, 2**22])
def test_arrays_fit_into_the_shared_memory_or_not(
    make_pool: Callable[..., Pool], shared_bytes: int
) -> None:
    bench = Bench()
    pool = make_pool(bench, shared_bytes=shared_bytes)
    draw = np.random.default_rng(1)
    arrays = [draw.random(size) for size in (3, 1, 0, 100, 50_000, 7, 20_000)]
    jobs = [pool.start(bench.add, (array, array, 1.0)) for array in arrays * 3]
    for array, job in zip(arrays * 3, jobs, strict=True):
        found = job.result()
        assert found.tobytes() == (array + array + 1.0).tobytes()
        # it is ours to write to
        found += 1
    whole = call(pool, bench.same, arrays)
    assert [one.tobytes() for one in whole] == [one.tobytes() for one in arrays]


def test_large_tasks_and_large_results_meet_in_the_pipe(make_pool: Callable[..., Pool]) -> None:
    """The next task is sent while a worker sends its result, and neither fits the pipe."""
    pool = make_pool(Bench(), workers=1, shared_bytes=64)
    array = np.ones(500_000)
    jobs = [pool.start(Bench().add, (array, array, 1.0)) for _ in range(4)]
    for job in jobs:
        assert isinstance(job, Future)
        assert job.result(timeout=60).sum() == 3 * len(array)


def test_more_is_outstanding_than_there_are_workers(make_pool: Callable[..., Pool]) -> None:
    bench = Bench()
    pool = make_pool(bench, workers=3)
    jobs = [pool.start(bench.add, (np.full(50, float(i)), i)) for i in range(400)]
    order = list(range(0, 400, 3)) + [i for i in range(399, -1, -1) if i % 3]
    for i in order:
        assert (jobs[i].result() == 2 * i).all()
    naps = [pool.start(bench.nap, (0.05,)) for _ in range(12)]
    workers = [job.result() for job in naps]
    assert len(set(workers)) == 3
    assert os.getpid() not in workers


def test_small_tasks_one_after_the_other_never_hang(make_pool: Callable[..., Pool]) -> None:
    bench = Bench()
    pool = make_pool(bench, workers=2)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for i in range(150):
            jobs = [pool.start(bench.add, (i, n)) for n in range(4)]
            assert [job.result(timeout=60) for job in jobs] == [i + n for n in range(4)]  # type: ignore[call-arg]
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("plain", ValueError, "^plain\n"),
        ("ours", RuntimeError, "level: too high"),
        ("closed", RuntimeError, "NotToBeSent: a lambda within"),
    ],
)
def test_exceptions_cross_and_the_worker_goes_on(
    make_pool: Callable[..., Pool], kind: str, error: type[Exception], words: str
) -> None:
    bench = Bench()
    pool = make_pool(bench, workers=1)
    pid = call(pool, bench.pid)
    with pytest.raises(error, match=words) as raised:
        call(pool, bench.fail, kind)
    # where it was raised, over there
    told = str(raised.value) + "".join(getattr(raised.value, "__notes__", []))
    assert "in fail" in told
    assert call(pool, bench.pid) == pid


def test_what_cannot_be_pickled_is_told_and_nothing_after_it_is_mixed_up(
    make_pool: Callable[..., Pool],
) -> None:
    bench = Bench()
    pool = make_pool(bench, workers=1)
    thing, arrays = Thing(5), [np.full(100, float(i)) for i in range(4)]
    with pytest.raises(Exception, match="pickle"):
        call(pool, bench.give, "lambda")
    with pytest.raises(Exception, match="pickle"):
        call(pool, bench.same, (thing, arrays[0], lambda: None))
    jobs = [pool.start(bench.same, ((thing, array),)) for array in arrays]
    for array, job in zip(arrays, jobs, strict=True):
        found = job.result()
        assert found[0] is thing
        assert (found[1] == array).all()


def test_a_killed_worker_is_told(make_pool: Callable[..., Pool]) -> None:
    bench = Bench()
    pool = make_pool(bench)
    pids = {job.result() for job in [pool.start(bench.nap, (0.1,)) for _ in range(4)]}
    jobs = [pool.start(bench.nap, (0.3,)) for _ in range(8)]
    time.sleep(0.1)
    os.kill(min(pids), signal.SIGKILL)
    with pytest.raises(ExecutorError, match="a worker process was killed") as told:
        deque(job.result() for job in jobs)
    assert len(str(told.value).splitlines()) == 1
    # and so is one that ended by itself, once both are gone
    for _ in range(4):
        with pytest.raises(ExecutorError):
            call(pool, bench.end)


def test_closing_waits_for_nothing_and_leaves_no_process(make_pool: Callable[..., Pool]) -> None:
    bench = Bench()
    pool = make_pool(bench)
    pids = {job.result() for job in [pool.start(bench.nap, (0.1,)) for _ in range(4)]}
    jobs = [pool.start(bench.nap, (600.0,)) for _ in range(20)]
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < 5
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert len(jobs) == 20
    # it can be used again
    assert call(pool, bench.add, 1, 2) == 3


def test_workers_are_prepared_and_hold_nothing_of_ours(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    bench, readied = Bench(), []
    with (tmp_path / "trace.h5").open("w") as held:
        pool = make_pool(bench, ready=lambda: readied.append(os.getpid()))
        assert readied == []
        jobs = [pool.start(bench.descriptors, ()) for _ in range(4)]
        for job in jobs:
            opened = job.result()
            assert not any("trace.h5" in name for name in opened)
            # its own end of its own pipe, and no other worker's
            assert sum(name.startswith("socket:") for name in opened) <= 1 + 3
        assert not held.closed
    assert readied == [os.getpid()]
    assert call(pool, bench.threads) == 1
    assert bench.calls == 0
    assert call(pool, bench.calls_so_far) >= 1
    assert bench.calls == 0


@pytest.mark.slow
def test_workers_can_be_spawned(make_pool: Callable[..., Pool], make_problem: MakeProblem) -> None:
    algorithm = algorithm_of("fedavg", make_problem())
    pool = make_pool(algorithm, workers=1, shared_bytes=2**22, method="spawn")
    here, there = turns(Inline(), algorithm, 1), turns(pool, algorithm, 1)
    assert [bits(one) for _, one in here[:4]] == [bits(one) for _, one in there[:4]]
    assert here[4:] == there[4:]
    assert there[0][1].tensors.layout is there[0][0].tensors.layout


PARENT = """
import sys, time
from pathlib import Path
from filelock import FileLock
from simfl.memo.pool import Pool

class Bench:
    def nap(self, seconds):
        time.sleep(seconds)

def nothing(): pass

lock = FileLock(sys.argv[1] + ".lock")
lock.acquire(timeout=0)
trace = open(sys.argv[1], "w")
bench = Bench()
pool = Pool(bench, workers=2, shared_bytes=1024, ready=nothing, prepare=nothing)
jobs = [pool.start(bench.nap, (seconds,)) for seconds in (0.01, 0.01, 600, 600, 600, 600)]
for job in jobs[:2]:
    job.result()
print(*(process.pid for process in pool._processes), flush=True)
time.sleep(600)
"""


def test_workers_end_with_a_killed_parent_and_let_go_of_its_lock(tmp_path: Path) -> None:
    from filelock import FileLock

    trace = tmp_path / "run.h5"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(trace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    for pid in workers:
        opened = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        assert not any(str(trace) in name for name in opened)
    parent.kill()
    # the pipes are closed when the last of the workers is gone: each in the middle of a long nap
    _, said = parent.communicate(timeout=20)
    assert said == ""
    FileLock(f"{trace}.lock").acquire(timeout=0).lock.release()
    deadline = time.monotonic() + 5
    while any(_runs(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
