"""Joules in closed form: watts times seconds, overlaps once."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simfl.cost.device import Draw
from simfl.cost.energy import KINDS, Ledger, Meter, Meters, Spell

SOURCE = {"kind": "measured", "source": "the bench in the corner", "log_sd": 0.1}


def draw(**watts: float) -> Draw:
    figures = {"idle": 2.0, "busy": 5.0} | watts
    return Draw.model_validate({k: {"value": f"{v} W", **SOURCE} for k, v in figures.items()})


def test_watts_by_kind() -> None:
    found = draw(transmit=1.5)
    assert [found.watts(kind) for kind in KINDS[:3]] == [2.0, 5.0, 1.5]
    assert isnan(found.watts("receive"))


def test_a_node_by_hand() -> None:
    meter = Meter(draw(transmit=1.0, receive=0.5))
    meter.receive.begin(1.0)
    meter.receive.end(4.0)
    meter.compute.begin(4.0)
    meter.compute.end(10.0)
    meter.transmit.begin(9.0)  # while it still computes: on top
    meter.transmit.end(12.0)
    found = meter.spent("a", 20.0)
    assert [row.kind for row in found] == list(KINDS)
    assert [row.seconds for row in found] == [14.0, 6.0, 3.0, 3.0]
    assert [row.joules for row in found] == [28.0, 30.0, 3.0, 1.5]
    # idle watts at all times, and more while it does something
    assert sum(row.joules for row in found) == 2 * 20 + (5 - 2) * 6 + 1 * 3 + 0.5 * 3


def test_overlapping_messages_count_once() -> None:
    meter = Meter(draw(transmit=1.0))
    for now_s, change in ((0, "begin"), (2, "begin"), (3, "end"), (5, "end"), (8, "begin")):
        getattr(meter.transmit, change)(now_s)
    # from 0 to 5, and the last one, under way since 8
    assert meter.transmit.seconds(10) == 7
    assert meter.transmit.seconds(8) == 5


def test_without_watts_joules_are_unknown_and_never_zero() -> None:
    meter = Meter(None)
    meter.compute.begin(0)
    assert all(isnan(row.joules) for row in meter.spent("a", 3))
    assert [row.seconds for row in meter.spent("a", 3)] == [0, 3, 0, 0]


def test_of_several_nodes() -> None:
    radio = draw(transmit=1.0)
    meters = Meters({"server": draw(), "a": radio, "b": draw()}, apart={"server"})
    meters["server"].compute.begin(0)
    meters["a"].compute.begin(1)
    meters["a"].compute.end(3)
    meters["a"].transmit.begin(3)
    meters["b"].transmit.begin(3)  # unknown: adds nothing
    # 2 x 2 W all the time, 3 W more for 2 s, 1 W more for 2 s
    assert meters.joules(5) == 2 * 2 * 5 + 3 * 2 + 1 * 2
    assert [row.node for row in meters.spent(5)] == ["server"] * 4 + ["a"] * 4 + ["b"] * 4
    assert [row.joules for row in meters.spent(5)][:2] == [0, 25]


def test_one_device_without_watts_and_the_sum_is_unknown() -> None:
    meters = Meters({"a": draw(), "b": None})
    assert isnan(meters.joules(1.0))
    known = [not isnan(row.joules) for row in meters.spent(1.0)]
    assert known == [True, True, False, False, *[False] * 4]  # nothing of a radio, nothing of b


@given(
    spans=st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 20), st.sampled_from(["transmit", "receive"])),
        max_size=30,
    )
)
def test_the_ledger_is_the_sum_of_the_nodes(spans: list[tuple[float, float, str]]) -> None:
    meters = Meters({name: draw(transmit=1.3, receive=0.7) for name in "ab"})
    events = []
    for number, (start_s, lasts_s, kind) in enumerate(spans):
        spell = getattr(meters["ab"[number % 2]], kind)
        events += [(start_s, 0, number, spell.begin), (start_s + lasts_s, 1, number, spell.end)]
    for now_s, _, _, change in sorted(events, key=lambda event: event[:3]):
        change(now_s)
    rows = meters.spent(150.0)
    assert meters.joules(150.0) == pytest.approx(sum(row.joules for row in rows), rel=1e-9)
    # no direction lasts longer than the union of its messages can
    for row in rows:
        mine = [s for n, s in enumerate(spans) if "ab"[n % 2] == row.node and s[2] == row.kind]
        if row.kind in ("transmit", "receive"):
            longest = max((lasts_s for _, lasts_s, _ in mine), default=0.0)
            assert longest - 1e-9 <= row.seconds <= sum(s for _, s, _ in mine) + 1e-9


def test_a_spell_tells_its_ledger_once() -> None:
    ledger = Ledger(1.0)
    spell = Spell(ledger, 4.0)
    spell.begin(0)
    spell.begin(1)
    spell.end(2)
    assert ledger.joules(2) == 10
    spell.end(3)
    assert ledger.joules(10) == 10 + 4 * 3


def test_what_is_not_known_of_a_device_stays_unknown() -> None:
    busy = Draw.model_validate({"busy": {"value": "5 W", **SOURCE}})
    meters = Meters({"a": busy})
    meters["a"].compute.begin(1.0)
    meters["a"].compute.end(3.0)
    rows = {row.kind: row for row in meters.spent(10.0)}
    assert rows["compute"].joules == 10.0
    assert rows["idle"].seconds == 8.0
    assert isnan(rows["idle"].joules)
    assert isnan(meters.joules(10.0))
