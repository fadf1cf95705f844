from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simfl.cost.rate_trace import RateTrace

STEPS = st.lists(st.floats(1e-3, 100), min_size=1, max_size=8)


def trace_of(steps: list[float], period: bool, shift_s: float) -> RateTrace:
    times = [sum(steps[:i]) for i in range(len(steps))]
    rates = [1e6 * (i + 1) for i in range(len(steps))]
    return RateTrace(times, rates, sum(steps) if period else None, shift_s)


@given(steps=STEPS, period=st.booleans(), shift_s=st.floats(0, 500), now_s=st.floats(0, 1e6))
def test_the_clock_that_follows_the_changes_sees_every_rate(
    steps: list[float], period: bool, shift_s: float, now_s: float
) -> None:
    trace = trace_of(steps, period, shift_s)
    for _ in range(3 * len(steps)):
        change_s = trace.next_change_s(now_s)
        assert change_s > now_s
        # nothing happens before, and at that instant the next rate holds
        assert trace.rate_at((now_s + min(change_s, now_s + 1e9)) / 2) == trace.rate_at(now_s)
        if change_s == inf:
            assert not period
            assert trace.rate_at(now_s) == trace.rates_bps[-1]
            break
        index = list(trace.rates_bps).index(trace.rate_at(now_s))
        assert trace.rate_at(change_s) == trace.rates_bps[(index + 1) % len(steps)]
        now_s = change_s


@given(steps=STEPS, shift_s=st.floats(0, 500), now_s=st.floats(0, 500))
def test_a_shifted_trace_is_the_same_later(
    steps: list[float], shift_s: float, now_s: float
) -> None:
    plain, shifted = trace_of(steps, True, 0.0), trace_of(steps, True, shift_s)
    near = [abs(plain.next_change_s(t) - now_s - shift_s) for t in (now_s + shift_s - 1e-6,)]
    if min(near) > 1e-5:
        assert shifted.rate_at(now_s) == plain.rate_at(now_s + shift_s)


def test_scaled_and_shifted_leave_the_other_as_it_is() -> None:
    trace = RateTrace([0.0, 1.0], [8e6, 2e6])
    assert trace.scaled(0.5).rates_bps == (4e6, 1e6)
    assert trace.shifted(1.0).rate_at(0.0) == 2e6
    assert trace.rate_at(0.0) == 8e6
    assert trace.shifted(1.0).times_s is trace.times_s


def test_without_end_the_last_rate_stays() -> None:
    trace = RateTrace([0.0, 1.0], [8e6, 2e6])
    assert (trace.rate_at(1e9), trace.next_change_s(1.0)) == (2e6, inf)
    assert RateTrace([0.0], [8e6]).next_change_s(0.0) == inf


def test_a_trace_of_one_rate_changes_only_in_name() -> None:
    trace = RateTrace([0.0], [8e6], period_s=3.0)
    assert trace.next_change_s(0.0) == pytest.approx(3.0)
    assert trace.rate_at(100.0) == 8e6
