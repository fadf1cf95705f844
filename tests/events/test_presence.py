from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Interrupt
from test_node import Room, seconds

from simfl.cost.energy import Meter
from simfl.events.activity import Activity, unless_cut
from simfl.events.presence import come_and_go, run_down


class Watts:
    """A device's draws, by kind."""

    def __init__(self, **watts: float) -> None:
        self._watts = watts

    def watts(self, kind: str) -> float:
        return self._watts[kind]


DRAWS = Watts(idle=2.0, compute=5.0, transmit=1.0, receive=0.5)


def room(*names: str) -> Room:
    made = Room(*names)
    for node in made.nodes.values():
        node.meter = Meter(DRAWS)
    return made


def leaving(here: Room, name: str, at_s: float, back_s: float | None = None) -> None:
    spells = [(0.0, at_s)] + ([] if back_s is None else [(back_s, 1e9)])
    here.env.process(come_and_go(here.env, here.nodes[name], iter(spells)))


def test_what_is_computed_is_cut_and_charged() -> None:
    here = room("a")
    a = here.nodes["a"]
    leaving(here, "a", 2.5, 4.0)
    waiting = here.env.process(unless_cut(a.compute(seconds, 1)))
    begun = here.env.process(unless_cut(a.compute(seconds, 3)))
    here.env.run(until=10)
    # the second waited for the first, and was cut in its place
    assert (waiting.value.value, begun.value) == (1, None)
    assert [(s.start_s, s.end_s, s.cut) for s in here.spans] == [(0, 1, False), (1, 2.5, True)]
    assert a.meter.compute.seconds(10) == 2.5
    assert a.meter.away.seconds(10) == 1.5
    spent = {row.kind: row.joules for row in a.meter.spent("a", 10)}
    assert spent["compute"] == 2.5 * 5
    assert spent["idle"] == (10 - 2.5 - 1.5) * 2
    # the processor is free again
    assert here.run(a.compute(seconds, 2))[0].value == 2
    assert here.spans[-1][:2] == (10, 12)


def test_who_waits_for_the_processor_when_it_leaves_never_has_it() -> None:
    here = room("a")
    a = here.nodes["a"]
    leaving(here, "a", 1.0, 2.0)
    both = [here.env.process(unless_cut(a.compute(seconds, 3))) for _ in range(2)]
    here.env.run(until=5)
    assert [process.value for process in both] == [None, None]
    assert [(s.start_s, s.end_s, s.cut) for s in here.spans] == [(0, 1, True)]
    assert here.run(a.compute(seconds, 1))[0].value == 1


@pytest.mark.parametrize("leaver", ["a", "b"])
def test_a_message_is_cut_at_both_ends(leaver: str) -> None:
    here = room("a", "b")
    a, b = here.nodes["a"], here.nodes["b"]
    payload = here.promise(seconds, 3)
    leaving(here, leaver, 2.0)
    sent = here.env.process(unless_cut(a.send(b, payload)))
    here.env.run(until=5)
    assert sent.value is None
    [message] = here.messages
    # twice through the air: half of the rate; 1 of 3 MB has left after 2 of 6 seconds
    assert (message.cut, message.start_s, message.end_s) == (True, 0, 2)
    assert message.nbytes == pytest.approx(1_000_000, rel=1e-9)
    assert a.meter.transmit.seconds(5) == b.meter.receive.seconds(5) == 2.0
    assert here.network.flows == 0
    [use] = [use for use in here.network.uses() if use.asked]
    assert use.cut == pytest.approx(use.asked * 2 / 3, rel=1e-9)


def test_nothing_is_begun_with_who_is_away() -> None:
    here = room("a", "b")
    a, b = here.nodes["a"], here.nodes["b"]
    b.leave()
    payload = here.promise(seconds, 1)
    for activity in (a.send(b, payload), b.send(a, payload), b.compute(seconds, 1)):
        with pytest.raises(Interrupt, match="away"):
            here.env.run(here.env.process(activity))
    assert (here.messages, here.spans, here.env.now) == ([], [], 0)
    b.come_back()
    here.run(a.send(b, payload))
    assert len(here.messages) == 1


def test_two_reasons_to_be_away_are_two_to_come_back() -> None:
    here = room("a")
    a = here.nodes["a"]
    a.leave()
    a.leave("battery", for_good=True)
    a.come_back()
    assert (a.there, a.gone) == (False, True)
    a.come_back("battery")
    assert a.there
    a.come_back("battery")
    assert here.changes == [("left", "a", "left"), ("returned", "a", "")]


def test_spells_that_touch_are_one() -> None:
    here = room("a")
    spells = [(0.0, 1.0), (1.0, 2.0), (3.0, 4.0)]
    here.env.process(come_and_go(here.env, here.nodes["a"], iter(spells)))
    seen: list[tuple[float, bool]] = []

    def look() -> Activity[None]:
        while True:
            yield here.nodes["a"].changed
            seen.append((here.env.now, here.nodes["a"].there))

    here.env.process(look())
    here.env.run(until=9)
    assert seen == [(2.0, False), (3.0, True), (4.0, False)]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_battery_ends_when_it_is_empty(share: float) -> None:
    here = room("a")
    a = here.nodes["a"]
    here.env.process(run_down(here.env, a, 100.0))

    def work() -> Activity[None]:
        while True:
            yield from (
                a.compute(seconds, 1)
                if Random(str(here.env.now)).random() < share
                else (here.env.timeout(1.0) for _ in range(1))
            )

    here.env.process(unless_cut(work()))
    here.env.run(until=80)
    assert a.gone
    ended_s = here.env.now - a.meter.away.seconds(here.env.now)
    assert a.meter.joules(80.0) == pytest.approx(100.0, abs=1e-3 * 5)
    if share in (0.0, 1.0):
        assert ended_s == pytest.approx(100 / (5 if share else 2), abs=1e-3)


def test_a_battery_lasts_longer_for_who_is_away() -> None:
    here = room("a")
    here.env.process(run_down(here.env, here.nodes["a"], 20.0))
    leaving(here, "a", 4.0, 10.0)
    here.env.run(until=30)
    assert here.nodes["a"].gone
    assert here.nodes["a"].meter.away.seconds(30) == pytest.approx(6 + 14, abs=1e-3)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)), max_size=6), st.integers(0, 99))
def test_seconds_add_up_and_the_books_balance(
    spells: Sequence[tuple[float, float]], seed: int
) -> None:
    here = room("a", "b", "c")
    now_s, made = 0.0, []
    for there_s, away_s in spells:
        made.append((now_s, now_s + there_s))
        now_s += there_s + away_s
    made.append((now_s, 1e9))
    here.env.process(come_and_go(here.env, here.nodes["a"], iter(made)))
    draw = Random(seed)

    def life(name: str) -> Activity[None]:
        node = here.nodes[name]
        while True:
            yield from node.present()
            other = here.nodes[draw.choice(sorted(set("abc") - {name}))]
            activity: Activity[Any] = node.compute(seconds, draw.randint(1, 3))
            if draw.random() < 0.5:
                activity = node.send(other, here.promise(seconds, draw.randint(1, 2)))
            if (yield from unless_cut(activity)) is None:
                yield here.env.timeout(0.25)

    for name in "abc":
        here.env.process(life(name))
    here.env.run(until=40.0)
    for node in here.nodes.values():
        kinds = {row.kind: row.seconds for row in node.meter.spent("", 40.0)}
        total = kinds["idle"] + kinds["compute"] + node.meter.away.seconds(40.0)
        assert total == pytest.approx(40.0, abs=1e-9)
    for use in here.network.uses():
        assert use.asked == pytest.approx(use.carried + use.cut + use.waiting, rel=1e-9)
