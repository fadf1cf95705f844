from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment, Event, Interrupt

from simfl.errors import NetworkError
from simfl.events.activity import Activity, first, parallel, pause, unless_cut


def after(env: Environment, seconds: float, log: list[str], name: str) -> Activity[str]:
    try:
        yield env.timeout(seconds)
    except Interrupt as cut:
        log.append(f"{name} cut at {env.now:g}: {cut.cause}")
        raise
    return name


def run(count: int, seconds: list[float], within_s: float = inf) -> tuple[Any, float, list[str]]:
    env, log = Environment(), list[str]()
    activities = [after(env, s, log, f"{s:g}") for s in seconds]
    found = env.run(env.process(first(env, count, activities, within_s)))
    return found, env.now, log


@pytest.mark.parametrize(
    ("count", "seconds", "within_s", "found", "end_s"),
    [
        (2, [5, 1, 3], inf, ["1", "3"], 3),
        (1, [5, 1, 3], inf, ["1"], 1),
        (3, [5, 1, 3], inf, ["5", "1", "3"], 5),
        (9, [5, 1, 3], inf, ["5", "1", "3"], 5),
        (3, [5, 1, 3], 4, ["1", "3"], 4),
        (3, [5, 1, 3], 0.5, [], 0.5),
        (2, [2, 2, 2], inf, ["2", "2"], 2),
        (1, [], inf, [], 0),
    ],
)
def test_the_first_are_waited_for_and_the_others_are_cut(
    count: int, seconds: list[float], within_s: float, found: list[str], end_s: float
) -> None:
    results, now_s, log = run(count, seconds, within_s)
    assert (results, now_s) == (found, end_s)
    assert len(log) == len(seconds) - len(found) - (seconds == [2, 2, 2])
    assert all(line.endswith(f"cut at {end_s:g}: not waited for") for line in log)


def test_a_fault_is_no_cut() -> None:
    env = Environment()

    def wrong() -> Activity[str]:
        yield env.timeout(1)
        raise KeyError("a fault")

    for run in (parallel(env, [wrong()]), first(env, 1, [wrong()])):
        with pytest.raises(KeyError, match="a fault"):
            env.run(env.process(run))


def test_of_those_side_by_side_who_is_cut_has_no_result() -> None:
    env, log = Environment(), list[str]()
    started = []

    def registered(name: str, seconds: float) -> Activity[str]:
        started.append(env.active_process)
        return (yield from after(env, seconds, log, name))

    whole = env.process(parallel(env, [registered("a", 4), registered("b", 6)]))
    env.run(until=1)
    started[1].interrupt("left")
    assert env.run(whole) == ["a"]
    assert (env.now, log) == (4, ["b cut at 1: left"])


def test_unless_cut() -> None:
    env, log = Environment(), list[str]()
    process = env.process(unless_cut(after(env, 3, log, "a")))
    env.run(until=2)
    process.interrupt("left")
    assert env.run(process) is None
    assert env.run(env.process(unless_cut(after(env, 3, log, "b")))) == "b"
    env.run(env.process(pause(env, 2.5)))
    assert env.now == 7.5


def test_results_come_in_the_order_given() -> None:
    env = Environment()

    def wait(seconds: float) -> Activity[float]:
        yield env.timeout(seconds)
        return seconds

    def main() -> Activity[tuple[list[float], float]]:
        found = yield from parallel(env, (wait(s) for s in (3.0, 1.0, 2.0)))
        return found, env.now

    assert env.run(env.process(main())) == ([3.0, 1.0, 2.0], 3.0)


def test_nothing_in_parallel_ends_at_once_and_a_failure_is_passed_on() -> None:
    env = Environment()

    def fail() -> Activity[None]:
        yield env.timeout(1)
        raise NetworkError("cut")

    def main(n: int) -> Activity[list[None]]:
        return (yield from parallel(env, [fail() for _ in range(n)]))

    assert env.run(env.process(main(0))) == []
    process: Event = env.process(main(2))
    with pytest.raises(NetworkError, match="cut"):
        env.run(process)


def test_an_end_at_the_deadline_itself_is_in_time() -> None:
    # what ends then was begun before the deadline was set
    assert run(2, [2, 1, 3], within_s=2)[:2] == (["2", "1"], 2)


def test_who_has_left_is_no_end() -> None:
    env, log = Environment(), list[str]()

    def leaves(at_s: float) -> Activity[str]:
        yield env.timeout(at_s)
        raise Interrupt("left")

    some = [leaves(1), after(env, 3, log, "a"), leaves(2), after(env, 5, log, "b")]
    assert env.run(env.process(first(env, 2, some))) == ["a", "b"]
    # once all have left there is nobody to wait for
    assert env.run(env.process(first(env, 1, [leaves(1), leaves(2)]))) == []
    assert env.now == 7


@given(
    st.lists(st.integers(0, 9).map(float), max_size=8),
    st.integers(1, 9),
    st.one_of(st.just(inf), st.integers(1, 9).map(lambda n: n + 0.5)),
)
def test_as_by_sorting(seconds: list[float], count: int, within_s: float) -> None:
    found, end_s, log = run(count, seconds, within_s)
    in_time = sorted(s for s in seconds if s <= within_s)
    assert sorted(map(float, found)) == in_time[:count]
    if len(in_time) >= min(count, len(seconds)):
        assert end_s == (in_time[:count] or [0.0])[-1]
    else:
        assert end_s == within_s
    assert all(line.endswith(f"cut at {end_s:g}: not waited for") for line in log)
