"""A pool of processes with shared memory: each runs one computation at a time, on one thread.

Arguments and results are pickled with their arrays out of band, in memory that both sides share.
What is passed again and again (a model that ten clients start from, masks that stay) crosses once:
classes that are marked ``interned = True`` are numbered, kept by the workers, and dropped when
nobody holds them here.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import select
import signal
import sys
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from mmap import mmap
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final

from simfl.errors import ExecutorError
from simfl.memo.executor import Args, Job, Verb
from simfl.memo.packing import Body, Packer, unpacked

# tasks that a worker has before it: one it runs, one that waits
_AHEAD: Final = 2
_Task = tuple[str, Args, "Future[Any]"]


class Pool:
    """Worker processes, started with the first computation.

    Args:
        target: the object whose verbs are run; each worker has its own copy.
        workers: how many.
        shared_bytes: memory shared with each worker for one task; what does not fit is piped.
        ready: called here before the workers are made, for what they are to share.
        prepare: called first in each worker.
        method: how processes are made. On Linux they are forked, and share the data set's pages.
    """

    name = "pool"

    def __init__(
        self,
        target: object,
        *,
        workers: int,
        shared_bytes: int,
        ready: Callable[[], None],
        prepare: Callable[[], None],
        method: str | None = None,
    ) -> None:
        self.workers = workers
        self._target, self._shared_bytes = target, shared_bytes
        self._ready, self._prepare = ready, prepare
        method = method or ("fork" if sys.platform == "linux" else "spawn")
        self._forks = method == "fork"
        self._context: Any = multiprocessing.get_context(method)
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._numbers = _Numbers()
        self._feeders: list[Thread] = []
        self._processes: list[Any] = []

    def start(self, verb: Verb, args: Args) -> Job:
        """Hand it to the next worker that is free."""
        if not self._feeders:
            self._launch()
        job: Future[Any] = Future()
        self._tasks.put((verb.__name__, args, job))
        return job

    def close(self) -> None:
        """End the workers; what was not joined until now is wanted by nobody."""
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for process in self._processes:
            process.kill()
        for _ in self._feeders:
            self._tasks.put(None)
        for feeder in self._feeders:
            feeder.join()
        for process in self._processes:
            process.join()
        self._feeders, self._processes = [], []

    def _memory(self) -> Any:
        """Forked workers inherit it; a mapping without a name is no file that /dev/shm limits."""
        size = _AHEAD * self._shared_bytes
        return mmap(-1, size) if self._forks else self._context.RawArray("B", size)

    def _launch(self) -> None:
        self._ready()
        lines = []
        for _ in range(self.workers):
            ours, theirs = self._context.Pipe()
            shared = self._memory()
            process = self._context.Process(
                target=_serve,
                args=(self._target, theirs, shared, self._prepare, self._forks),
                daemon=True,
            )
            with warnings.catch_warnings(), _deaf():
                # newer Pythons warn of forking beside threads: the progress line's, which holds no
                # lock that a worker takes
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            self._processes.append(process)
            lines.append(_Line(ours, memoryview(shared).cast("B"), self._numbers))
        self._feeders = [
            Thread(target=_feed, args=(line, self._tasks, self.workers), daemon=True)
            for line in lines
        ]
        for feeder in self._feeders:
            feeder.start()


class _Numbers:
    """Numbers of interned objects; weak, and shared by the lines to all workers."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._next = 0
        self._by_id: dict[int, int] = {}
        self.objects: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.dropped: list[deque[int]] = []

    def of(self, value: Any) -> int:
        """The number of an object."""
        with self._lock:
            number = self._by_id.get(id(value))
            if number is None:
                number = self._by_id[id(value)] = self._next
                self._next += 1
                self.objects[number] = value
                weakref.finalize(value, self._drop, id(value), number).atexit = False
            return number

    def _drop(self, identity: int, number: int) -> None:
        self._by_id.pop(identity, None)
        for dropped in self.dropped:
            dropped.append(number)


class _Line:
    """The way to one worker, from here."""

    def __init__(self, pipe: Connection, shared: memoryview, numbers: _Numbers) -> None:
        self.pipe = pipe
        self._shared, self._numbers = shared, numbers
        self._sent = self._received = 0
        self._held: set[int] = set()
        self._dropped: deque[int] = deque()
        numbers.dropped.append(self._dropped)

    def send(self, name: str, args: Args) -> None:
        """Have a verb run over there, after those that were sent before.

        Raises:
            ExecutorError: the worker is gone.
        """
        memory = Packer(_part(self._shared, self._sent + 1))
        new: list[tuple[int, Body]] = []
        try:
            call = self._pickle((name, args), memory, new, top=None)
        except BaseException:
            # as if it had not been tried: what was numbered did not get there
            self._held.difference_update(number for number, _ in new)
            raise
        drop = []
        while self._dropped:
            drop.append(self._dropped.popleft())
        self._held.difference_update(drop)
        self._sent += 1
        with _killed():
            self.pipe.send_bytes(pickle.dumps((drop, new, call)))

    def receive(self) -> Any:
        """The oldest result that was not received yet.

        Raises:
            ExecutorError: the worker is gone.
        """
        with _killed():
            failed, body = pickle.loads(self.pipe.recv_bytes())
        self._received += 1
        shared = _part(self._shared, self._received)
        result = unpacked(body, shared, self._numbers.objects)
        if failed:
            raise result
        return result

    def _pickle(self, value: Any, memory: Packer, new: list[tuple[int, Body]], top: Any) -> Body:
        def number_of(part: Any) -> int | None:
            if part is top or not getattr(type(part), "interned", False):
                return None
            number = self._numbers.of(part)
            if number not in self._held:
                new.append((number, self._pickle(part, memory, new, top=part)))
                self._held.add(number)
            return number

        return memory.pickled(value, number_of)


def _feed(line: _Line, tasks: SimpleQueue[_Task | None], workers: int) -> None:
    """Pass tasks to one worker, until there is None.

    The next task waits over there already when one ends, where there is enough for all workers.
    """
    under_way: deque[tuple[Args, Future[Any]]] = deque()
    open_ended = True
    while open_ended or under_way:
        full = len(under_way) == _AHEAD or not open_ended
        if not full and (not under_way or tasks.qsize() >= workers):
            try:
                # others may have taken it: what is under way must not wait for a task
                task = tasks.get(block=not under_way)
            except Empty:
                continue
            if task is None:
                open_ended = False
                continue
            name, args, job = task
            # held until the result is here: it may refer to them
            under_way.append((args, job))
            try:
                line.send(name, args)
            except BaseException as error:
                under_way.pop()
                job.set_exception(error)
            del task, args, job
            continue
        _, job = under_way.popleft()
        try:
            job.set_result(line.receive())
        except BaseException as error:
            job.set_exception(error)
        del _, job
    line.pipe.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that begin here do not hear Ctrl-C: the one that makes them ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _killed() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise ExecutorError(
            "a worker process was killed (out of memory?); take fewer --workers, or --executor "
            "inline"
        ) from error


def _part(shared: memoryview, number: int) -> memoryview:
    """The memory of one of the tasks that are under way."""
    size = len(shared) // _AHEAD
    start = number % _AHEAD * size
    return shared[start : start + size]


def _serve(
    target: Any, pipe: Connection, shared: Any, prepare: Callable[[], None], forked: bool
) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # a forked worker keeps nothing of what its parent has open: not the trace, not its lock, and
    # not the other workers' pipes, whose end must be seen when the parent is killed
    if forked:
        os.closerange(3, pipe.fileno())
        os.closerange(pipe.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    Thread(target=_end_with, args=(pipe,), daemon=True).start()
    prepare()
    whole = memoryview(shared).cast("B")
    held: dict[int, Any] = {}
    number = 0
    inbox: SimpleQueue[bytes | None] = SimpleQueue()
    Thread(target=_listen, args=(pipe, inbox), daemon=True).start()
    # the other end is closed, or its process is gone
    with suppress(OSError):
        while (message := inbox.get()) is not None:
            drop, new, call = pickle.loads(message)
            number += 1
            memory = _part(whole, number)
            for dropped in drop:
                held.pop(dropped, None)
            try:
                answer = False, _answer(target, new, call, memory, held)
            except Exception as error:
                answer = True, Packer(memory).pickled(_sendable(error), lambda _: None)
            pipe.send_bytes(pickle.dumps(answer))


def _listen(pipe: Connection, inbox: SimpleQueue[bytes | None]) -> None:
    """Take in what comes, also while a result is sent: the other side sends on before it reads.

    Else two messages that are larger than the pipe would wait for each other.
    """
    with suppress(EOFError, OSError):
        while True:
            inbox.put(pipe.recv_bytes())
    inbox.put(None)


def _answer(
    target: Any,
    new: list[tuple[int, Body]],
    call: Body,
    memory: memoryview,
    held: dict[int, Any],
) -> Body:
    """Run one verb."""
    for introduced, body in new:
        held[introduced] = unpacked(body, memory, held)
    name, args = unpacked(call, memory, held)
    result = getattr(target, name)(*args)
    numbers = {id(value): n for n, value in held.items()}
    return Packer(memory).pickled(result, lambda part: numbers.get(id(part)))


def _end_with(pipe: Connection) -> None:
    """End this process when the other one is gone, whatever is being computed."""
    if hasattr(select, "poll"):
        other_end = select.poll()
        other_end.register(pipe.fileno(), 0)
        other_end.poll()
        os._exit(0)


def _sendable(error: Exception) -> Exception:
    """The exception, or one that says the same where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    error.add_note("".join(traceback.format_exception(error)))
    return error
