import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from simfl.learning.problem import Problem
from simfl.learning.state import ModelState
from simfl.memo import Executor, Inline, auto
from simfl.memo.auto import Auto
from simfl.memo.executor import Batched, Job
from simfl.memo.pool import Pool
from simfl.registry import ALGORITHMS
from simfl.work import Turn

MakeProblem = Callable[..., Problem]


class Bench:
    """Verbs that say how they were called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def train(self, number: int) -> int:
        self.calls.append(number)
        return 10 * number

    def train_all(self, calls: list[tuple[int]]) -> list[int]:
        self.calls.append([number for (number,) in calls])
        if any(number < 0 for (number,) in calls):
            raise ValueError("negative")
        return [10 * number for (number,) in calls]

    def score(self, number: int) -> int:
        self.calls.append(number)
        return -number


def start_all(executor: Executor, verb: Callable[..., Any], *numbers: int) -> list[Job]:
    return [executor.start(verb, (number,)) for number in numbers]


def test_inline_computes_what_is_joined_when_it_is_joined() -> None:
    bench, executor = Bench(), Inline()
    jobs = start_all(executor, bench.train, 1, 2, 3)
    assert bench.calls == []
    assert jobs[1].result() == 20
    assert jobs[0].result() == 10
    assert bench.calls == [2, 1]
    executor.close()


def test_what_is_outstanding_is_stacked_at_the_first_join() -> None:
    bench, executor = Bench(), Batched()
    jobs = start_all(executor, bench.train, 1, 2, 3)
    score = executor.start(bench.score, (7,))
    assert bench.calls == []
    assert jobs[2].result() == 30
    assert bench.calls == [[1, 2, 3]]
    # they are there already; what cannot be stacked is computed when it is joined
    assert [job.result() for job in jobs] == [10, 20, 30]
    assert score.result() == score.result() == -7
    assert bench.calls == [[1, 2, 3], 7]
    later = start_all(executor, bench.train, 4, 5)
    assert [job.result() for job in later] == [40, 50]
    assert bench.calls[2:] == [[4, 5]]


def test_no_more_are_stacked_than_may_be() -> None:
    bench, executor = Bench(), Batched(most=3)
    jobs = start_all(executor, bench.train, *range(8))
    assert [job.result() for job in jobs] == [10 * n for n in range(8)]
    assert bench.calls == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_objects_of_one_class_are_not_stacked_with_each_other() -> None:
    one, other, executor = Bench(), Bench(), Batched()
    jobs = [executor.start(bench.train, (n,)) for n, bench in enumerate([one, other] * 2)]
    assert jobs[0].result() == 0
    assert (one.calls, other.calls) == ([[0, 2]], [])
    assert jobs[3].result() == 30
    assert other.calls == [[1, 3]]


def test_what_failed_fails_again_and_what_was_beside_it_is_computed() -> None:
    bench, executor = Bench(), Batched(most=2)
    jobs = start_all(executor, bench.train, 1, 2, 3, -1, 5)
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            jobs[3].result()
    assert [jobs[n].result() for n in (0, 1)] == [10, 20]
    assert bench.calls == [[1, 2], [3, -1], [3, -1]]


def test_what_nobody_joined_is_forgotten() -> None:
    bench, executor = Bench(), Batched()
    start_all(executor, bench.train, 1, 2)
    executor.close()
    assert executor.start(bench.train, (3,)).result() == 30
    assert bench.calls == [[3]]


def algorithm_of(problem: Problem) -> Any:
    plugin = ALGORITHMS.get("fedavg")
    return plugin.build(plugin.options(), problem)


def bits(state: ModelState) -> tuple[Any, ...]:
    return state.tensors.flat.numpy().tobytes(), state.samples


def trained(executor: Executor, algorithm: Any, states: list[ModelState]) -> list[ModelState]:
    jobs = [
        executor.start(algorithm.train, (state, Turn(client, 1)))
        for client, state in enumerate(states)
    ]
    return [job.result() for job in jobs]


def test_turns_of_unlike_shape_stand_beside_each_other(make_problem: MakeProblem) -> None:
    # 60 samples of 7 clients: some hold 9, some 8, and their last batches differ
    algorithm = algorithm_of(make_problem(clients=7, steps=None, epochs=2))
    states = [algorithm.initial()] * 7
    assert len({algorithm.problem.participants[i].samples for i in range(7)}) == 2
    for most in (1, 3, 16):
        stacked = trained(Batched(most), algorithm, states)
        alone = trained(Inline(), algorithm, states)
        assert [bits(state) for state in stacked] == [bits(state) for state in alone]


class Clock:
    """The host's, that goes on when an executor works: on a busy machine another would not do."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(auto, "perf_counter", clock)
    return clock


class Paced:
    """An executor that takes so long for each turn, or for a group of them."""

    def __init__(self, clock: Clock, name: str, each_s: float = 0.0, group_s: float = 0.0) -> None:
        self.name, self.closed, self.ran = name, 0, 0
        self._clock = clock
        self._each_s, self._group_s = each_s, group_s
        self._rested = True

    def start(self, verb: Callable[..., Any], args: tuple[Any, ...]) -> Job:
        self._rested = False
        return _PacedJob(self, verb, args)

    def run(self, verb: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if not self._rested:
            self._rested = True
            self._clock.now_s += self._group_s
        self._clock.now_s += self._each_s
        self.ran += 1
        return verb(*args)

    def close(self) -> None:
        self.closed += 1


class _PacedJob:
    def __init__(self, executor: Paced, verb: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._executor, self._verb, self._args = executor, verb, args

    def result(self) -> Any:
        return self._executor.run(self._verb, self._args)


def rounds(executor: Executor, number: int, cohort: int = 4) -> None:
    bench = Bench()
    for round in range(number):
        numbers = [cohort * round + n for n in range(cohort)]
        jobs = start_all(executor, bench.train, *numbers)
        assert [job.result() for job in jobs] == [10 * n for n in numbers]
        assert executor.start(bench.score, (round,)).result() == -round
    # nothing is computed twice, however it is tried
    assert Counter(bench.calls) == Counter([*range(cohort * number), *range(number)])


@pytest.mark.parametrize(
    ("paces", "ideal", "chosen", "tried"),
    [
        # none is near the ideal: all are tried, the fastest is kept
        ((0.015, 0.003, 0.03), 100, "second", {"first", "second", "alone"}),
        ((0.003, 0.015, 0.03), 100, "first", {"first", "second", "alone"}),
        ((0.02, 0.02, 0.003), 100, "alone", {"first", "second", "alone"}),
        # the first is fast enough: the second is never tried
        ((0.003, 0.001, 0.03), 4, "first", {"first", "alone"}),
    ],
)
def test_auto_keeps_the_fastest(
    caplog: pytest.LogCaptureFixture,
    clock: Clock,
    paces: tuple[float, float, float],
    ideal: int,
    chosen: str,
    tried: set[str],
) -> None:
    first, second, alone = (
        Paced(clock, name, pace)
        for name, pace in zip(("first", "second", "alone"), paces, strict=True)
    )
    chooser = Auto([first, second, alone], ideal)
    rounds(chooser, 1)
    assert chooser.says == ""
    with caplog.at_level(logging.INFO, "simfl"):
        rounds(chooser, 5)
    assert chooser.says.startswith(f"{chosen} (a turn took: alone ")
    assert chooser.says.count(" ms") == len(tried)
    assert all(f"{name} " in chooser.says for name in tried)
    assert f"executor: {chooser.says}" in caplog.messages
    # the losers are let go at once, and run nothing any more
    closed = {executor.name: executor.closed for executor in (first, second, alone)}
    assert closed == {name: int(name != chosen) for name in closed}
    ran = {executor.name: executor.ran for executor in (first, second, alone)}
    assert {name for name, times in ran.items() if times} == tried
    rounds(chooser, 2)
    after = {executor.name: executor.ran for executor in (first, second, alone)}
    assert {name for name in ran if after[name] != ran[name]} == {chosen}
    chooser.close()
    assert min(executor.closed for executor in (first, second, alone)) == 1


def test_auto_counts_what_a_group_costs_as_a_whole(clock: Clock) -> None:
    """Getting under way is paid once for a group: what is slow alone may be fast for many."""
    stacked, alone = Paced(clock, "stacked", 0.001, group_s=0.012), Paced(clock, "alone", 0.005)
    chooser = Auto([stacked, alone], 100)
    rounds(chooser, 4, cohort=10)
    assert chooser.says.startswith("stacked")
    chooser = Auto(
        [Paced(clock, "stacked", 0.001, group_s=0.03), Paced(clock, "alone", 0.005)], 100
    )
    rounds(chooser, 6, cohort=3)
    assert chooser.says.startswith("alone")


def test_auto_with_one_candidate_measures_nothing(clock: Clock) -> None:
    alone = Paced(clock, "alone")
    chooser = Auto([alone], 1)
    rounds(chooser, 3)
    assert chooser.says == ""
    assert alone.ran == 15
    chooser.close()
    assert alone.closed == 1


def test_auto_decides_nothing_on_turns_that_come_one_by_one(clock: Clock) -> None:
    first, alone = Paced(clock, "first"), Paced(clock, "alone")
    chooser = Auto([first, alone], 2)
    rounds(chooser, 20, cohort=1)
    assert chooser.says == ""
    assert (first.ran, alone.ran) == (0, 40)
    chooser.close()


def test_a_failure_passes_through_auto() -> None:
    bench = Bench()
    chooser = Auto([Batched(), Inline()], 2)
    jobs = start_all(chooser, bench.train, 1, 2, 3, -1)
    with pytest.raises(ValueError, match="negative"):
        jobs[0].result()
    assert jobs[0].result() == 10
    chooser.close()


def test_all_executors_give_the_same_bits(make_problem: MakeProblem) -> None:
    algorithm = algorithm_of(make_problem(clients=6, momentum=0.9))

    def pool() -> Pool:
        return Pool(
            algorithm,
            workers=2,
            shared_bytes=2**22,
            ready=algorithm.problem.prepare,
            prepare=lambda: None,
        )

    executors: list[Executor] = [
        Inline(),
        Batched(4),
        pool(),
        Auto([pool(), Batched(), Inline()], ideal=2),
        Auto([pool(), Batched(), Inline()], ideal=1000),
        Auto([Inline()], ideal=1),
    ]
    found = []
    for executor in executors:
        states = [algorithm.initial()] * 6
        for _ in range(6):
            states = trained(executor, algorithm, states)
        scores = [executor.start(algorithm.score, (state,)) for state in states]
        found.append([*map(bits, states), *(score.result() for score in scores)])
        executor.close()
    assert all(one == found[0] for one in found[1:])
    decided = [executor.says for executor in executors if isinstance(executor, Auto)]
    assert [bool(says) for says in decided] == [True, True, False]
    assert all(name in decided[1] for name in ("inline", "pool", "batched"))
