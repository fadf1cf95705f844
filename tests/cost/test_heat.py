"""Throttling against closed forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simfl.cost.heat import Heat

SPEED, HOLDS_S = 0.5, 10.0


def play(heat: Heat, jobs: list[tuple[float, float]]) -> list[float]:
    """Seconds of jobs of so much work, each after so long a rest."""
    now_s, took = 0.0, []
    for rest_s, work_s in jobs:
        now_s += rest_s
        seconds = heat.seconds(work_s, now_s)
        heat.computed(now_s, now_s + seconds)
        now_s += seconds
        took.append(seconds)
    return took


def test_without_rest_all_that_comes_after_is_slow() -> None:
    # 4 + 4 fit; of the third, 2 do and 2 take twice as long
    assert play(Heat(SPEED, HOLDS_S), [(0, 4)] * 4) == [4, 4, 2 + 2 / SPEED, 4 / SPEED]


@pytest.mark.parametrize(("rest_s", "work_s"), [(1.0, 3.0), (0.25, 2.0), (2.9, 3.0)])
def test_a_steady_load_buys_at_full_speed_what_it_rests(rest_s: float, work_s: float) -> None:
    took = play(Heat(SPEED, HOLDS_S), [(rest_s, work_s)] * 400)
    assert took[0] == work_s
    assert took[-1] == pytest.approx(rest_s + (work_s - rest_s) / SPEED, rel=1e-12)
    # each job fills the store by what it is longer than the rest before it, but for the first
    net_s = work_s - rest_s
    whole = int((HOLDS_S - work_s) / net_s)
    assert took[: whole + 1] == [work_s] * (whole + 1)
    assert took[whole + 2] > work_s


def test_who_rests_as_long_as_it_computes_is_never_slow() -> None:
    assert play(Heat(SPEED, HOLDS_S), [(3, 3)] * 100) == [3] * 100


def test_a_board_that_holds_nothing_is_always_slow() -> None:
    assert play(Heat(SPEED, 0), [(0, 3), (100, 1)]) == [6, 2]


def test_what_was_interrupted_heats_for_as_long_as_it_ran() -> None:
    heat = Heat(SPEED, HOLDS_S)
    assert heat.seconds(9, 0) == 9
    heat.computed(0, 4)
    assert heat.seconds(9, 4) == 6 + 3 / SPEED


@given(
    jobs=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30)), max_size=30),
    speed=st.floats(0.1, 1),
    holds_s=st.floats(0, 40),
)
def test_no_job_is_faster_than_cold_or_slower_than_hot(
    jobs: list[tuple[float, float]], speed: float, holds_s: float
) -> None:
    for (_, work_s), took_s in zip(jobs, play(Heat(speed, holds_s), jobs), strict=True):
        assert work_s * (1 - 1e-12) <= took_s <= work_s / speed * (1 + 1e-12)
