"""What a search may try, as a person writes it."""

import pytest

from simfl.errors import ScenarioError
from simfl.search_space import Choice, Range, dimension

RATE = ("platform", "network", "rate")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("level=1..30", Range(path=("level",), low=1, high=30, whole=True)),
        ("level=1..30 log", Range(path=("level",), low=1, high=30, whole=True, log=True)),
        ("share=0..1.0", Range(path=("share",), low=0, high=1)),
        ("share=-1e-3..1", Range(path=("share",), low=-0.001, high=1)),
        (
            "platform.network.rate=1 Mbit/s..20 Mbit/s",
            Range(path=RATE, low=1, high=20, unit="Mbit/s"),
        ),
        (
            "platform.network.rate= 1 .. 20 Mbit/s log ",
            Range(path=RATE, low=1, high=20, unit="Mbit/s", log=True),
        ),
        ("stop.time=30 min..2 h", Range(path=("stop", "time"), low=0.5, high=2, unit="h")),
        ("wait=500 ms..2 s", Range(path=("wait",), low=0.5, high=2, unit="s")),
    ],
)
def test_ranges(text: str, expected: Range) -> None:
    assert dimension(text) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=1,2", [1, 2]),
        ("protocol.cohort=2,null", [2, None]),
        ("codec={name: coo},{name: dense}", [{"name": "coo"}, {"name": "dense"}]),
        ("platform.devices.pi4.model=../a.yaml", ["../a.yaml"]),
        ("stop.time=2 h", ["2 h"]),
    ],
)
def test_choices(text: str, values: list[object]) -> None:
    found = dimension(text)
    assert isinstance(found, Choice)
    assert [one.value for one in found.choices] == values


def test_what_is_tried_is_told_to_the_last_bit() -> None:
    number = 0.1 + 0.2
    rate = dimension("platform.network.rate=1e-5 Mbit/s..20 Mbit/s")
    assert isinstance(rate, Range)
    assert rate.at(number).value == "0.30000000000000004 Mbit/s"
    assert [end.value for end in rate.ends()] == ["1e-05 Mbit/s", "20.0 Mbit/s"]
    bare = dimension("learning.local.learning_rate=0.001..1 log")
    assert isinstance(bare, Range)
    tried = bare.at(number)
    assert tried.value == number
    # YAML's own spelling: 1e-05 would be read as text
    assert bare.at(1e-5).text == "learning.local.learning_rate=1.0e-05"
    level = dimension("level=1..30")
    assert [type(end.value) for end in level.ends()] == [int, int]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("level=30..1", "the lower end is not below the upper one"),
        ("level=3..3", "the lower end is not below the upper one"),
        ("share=0..1 log", "a logarithm needs a lower end above 0"),
        ("wait=1 Mbit/s..2 s", "'Mbit/s' and 's' do not fit"),
        ("wait=1 s..2", "'s' and 'no unit' do not fit"),
        ("=1..2", "not an override"),
        ("level", "not an override"),
        ("level=", "no value"),
    ],
)
def test_what_is_no_range(text: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        dimension(text)
