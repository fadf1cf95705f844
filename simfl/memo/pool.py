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
import signal
import sys
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from io import BytesIO
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final

from simfl.errors import ExecutorError
from simfl.memo.executor import Args, Job, Verb

_ALIGNED: Final = 64
# tasks that a worker has before it: one it runs, one that waits
_AHEAD: Final = 2
_Task = tuple[str, Args, "Future[Any]"]
_Place = tuple[int, int]
_Body = tuple[bytes, list[_Place]]


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
        memory = _Memory(_part(self._shared, self._sent + 1))
        new: list[tuple[int, _Body]] = []
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
        result = _unpickled(body, shared, self._numbers.objects)
        if failed:
            raise result
        return result

    def _pickle(self, value: Any, memory: _Memory, new: list[tuple[int, _Body]], top: Any) -> _Body:
        def number_of(part: Any) -> int | None:
            if part is top or not getattr(type(part), "interned", False):
                return None
            number = self._numbers.of(part)
            if number not in self._held:
                body = self._pickle(part, memory, new, top=part)
                self._held.add(number)
                new.append((number, body))
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
            task = tasks.get()
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
    prepare()
    whole = memoryview(shared).cast("B")
    held: dict[int, Any] = {}
    number = 0
    while True:
        try:
            drop, new, call = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        number += 1
        memory = _part(whole, number)
        for dropped in drop:
            held.pop(dropped, None)
        for introduced, body in new:
            held[introduced] = _unpickled(body, memory, held)
        name, args = _unpickled(call, memory, held)
        numbers = {id(value): n for n, value in held.items()}

        def number_of(part: Any, numbers: dict[int, int] = numbers) -> int | None:
            return numbers.get(id(part))

        try:
            failed, result = False, getattr(target, name)(*args)
        except Exception as error:
            failed, result = True, _sendable(error)
        body = _Memory(memory).pickled(result, number_of)
        pipe.send_bytes(pickle.dumps((failed, body)))
        del name, args, result


def _sendable(error: Exception) -> Exception:
    """The exception, or one that says the same where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    error.add_note("".join(traceback.format_exception(error)))
    return error


class _Memory:
    """Pickles values, with their arrays laid one after the other into shared memory."""

    def __init__(self, shared: memoryview) -> None:
        self._shared = shared
        self._end = 0

    def pickled(self, value: Any, number_of: Callable[[Any], int | None]) -> _Body:
        """A value; the parts that have a number by their number."""
        file = BytesIO()
        places: list[_Place] = []

        def place(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            start = -(-self._end // _ALIGNED) * _ALIGNED
            if start + raw.nbytes > len(self._shared):
                # no room: pickle carries it
                return True
            self._shared[start : start + raw.nbytes] = raw
            self._end = start + raw.nbytes
            places.append((start, raw.nbytes))
            return False

        _Pickler(file, place, number_of).dump(value)
        return file.getvalue(), places


def _unpickled(body: _Body, shared: memoryview, numbered: Mapping[int, Any]) -> Any:
    data, places = body
    # copies: the memory is written over by what comes next
    buffers = [bytearray(shared[start : start + nbytes]) for start, nbytes in places]
    return _Unpickler(data, buffers, numbered).load()


class _Pickler(pickle.Pickler):
    def __init__(
        self,
        file: BytesIO,
        place: Callable[[pickle.PickleBuffer], bool],
        number_of: Callable[[Any], int | None],
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=place)
        self._number_of = number_of

    def persistent_id(self, part: Any) -> int | None:
        return self._number_of(part)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: list[bytearray], numbered: Mapping[int, Any]) -> None:
        super().__init__(BytesIO(data), buffers=buffers)
        self._numbered = numbered

    def persistent_load(self, number: int) -> Any:
        return self._numbered[number]
