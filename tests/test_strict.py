from typing import Annotated, Literal

import pytest
from pydantic import Field

from simfl.errors import ScenarioError
from simfl.options import Duration, Options, Positive, PositiveDuration, Share, Size
from simfl.strict import Where, line_of, parse_yaml, validate

TEXT = """\
# a comment
box:
  width: 2

  sides:
    - {colour: red}
    - {colour: blue, size: 3 MiB}
"""


class Side(Options):
    colour: Literal["red", "blue"]
    size: Size | None = None


class Box(Options):
    width: Positive
    sides: list[Side] = Field(default_factory=list)


class File(Options):
    box: Box


def read(text: str) -> File:
    data, lines = parse_yaml(text, "f.yaml")
    return validate(File, data, lambda where: f"f.yaml:{line_of(where, lines)}")


def test_lines_of_keys_and_items() -> None:
    data, lines = parse_yaml(TEXT, "f.yaml")
    assert data["box"]["width"] == 2
    assert lines == {
        (): 1,
        ("box",): 2,
        ("box", "width"): 3,
        ("box", "sides"): 5,
        ("box", "sides", 0): 6,
        ("box", "sides", 0, "colour"): 6,
        ("box", "sides", 1): 7,
        ("box", "sides", 1, "colour"): 7,
        ("box", "sides", 1, "size"): 7,
    }


@pytest.mark.parametrize(
    ("where", "line"), [(("box", "width"), 3), (("box", "depth"), 2), (("x", 1), 1), ((), 1)]
)
def test_a_key_that_is_not_there_has_the_line_above_it(where: Where, line: int) -> None:
    assert line_of(where, parse_yaml(TEXT, "f.yaml")[1]) == line


def test_a_right_file_is_read() -> None:
    box = read(TEXT).box
    assert [side.colour for side in box.sides] == ["red", "blue"]
    assert box.sides[1].size == 3 * 2**20


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("width: 2", "wdith: 2", "f.yaml:3: box.wdith: unknown key; did you mean 'width'?"),
        (
            "red",
            "rde",
            "f.yaml:6: box.sides.0.colour: 'rde' is not known here; use 'red' or 'blue'",
        ),
        ("size", "sise", "f.yaml:7: box.sides.1.sise: unknown key; did you mean 'size'?"),
        (
            "{colour: red}",
            "red",
            "f.yaml:6: box.sides.0: 'red' is not a mapping; write its keys below it",
        ),
        (
            "3 MiB",
            "3",
            "f.yaml:7: box.sides.1.size: 3 has no unit; write a size with its unit, e.g. '1 MiB'",
        ),
        ("box:", "bxo:", "f.yaml:1: box: missing; add this key"),
    ],
)
def test_mistakes(good: str, bad: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        read(TEXT.replace(good, bad))
    assert message in str(error.value).splitlines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a stands twice; remove one of the two"),
        ("a:\n  b: 1\n  b: 1", "f.yaml:3: a.b stands twice; remove one of the two"),
        ("a: [{b: 1, b: 2}]", "f.yaml:1: a.0.b stands twice; remove one of the two"),
        ("a: 1\n b: 2", "f.yaml:2: not YAML: mapping values are not allowed here; check "),
        ("a: 'x", "f.yaml:1: not YAML: found unexpected end of stream; check "),
        ("a: *b", "f.yaml:1: not YAML: found undefined alias 'b'; check "),
        ("a: !!python/name:os.system", "f.yaml:1: not YAML: could not determine a constructor "),
    ],
)
def test_what_is_not_yaml_or_says_a_thing_twice(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_yaml(text, "f.yaml")
    assert str(error.value).startswith(message)


class Bounds(Options):
    share: Share = 0.5
    time: Duration = 0.0
    wait: PositiveDuration = 1.0
    power: Annotated[float, Field(lt=1)] = 0.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"share": 1.5}, "f: share: 1.5 is out of range; give a value at most 1.0"),
        ({"share": -1}, "f: share: -1 is out of range; give a value at least 0.0"),
        ({"time": "-1 s"}, "f: time: '-1 s' is out of range; give a time of at least 0"),
        ({"wait": "0 s"}, "f: wait: '0 s' is out of range; give a time above 0"),
        ({"power": 1}, "f: power: 1 is out of range; give a value below 1.0"),
        ([], "f: file: [] is not a mapping; write its keys below it"),
        (None, "f: file: None is not a mapping; write its keys below it"),
    ],
)
def test_bounds(data: object, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        validate(Bounds, data, lambda _: "f")
    assert str(error.value) == message


def test_bounds_may_be_reached() -> None:
    bounds = validate(Bounds, {"share": 1, "time": "0 s", "wait": "1 ns"}, lambda _: "f")
    assert (bounds.share, bounds.time, bounds.wait) == (1, 0, 1e-9)
