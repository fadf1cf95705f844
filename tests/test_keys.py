from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from simfl.keys import digest_of_files, key_of, seed_of

PARTS = st.lists(st.text(st.characters(min_codepoint=0x20, codec="utf-8"), max_size=4), max_size=3)
COORDINATES = st.lists(st.integers() | st.text(max_size=3), max_size=3)


@given(PARTS, PARTS)
def test_keys_name_lists_of_parts(a: list[str], b: list[str]) -> None:
    assert key_of(*a) == key_of(*a)
    assert (key_of(*a) == key_of(*b)) == ((a or [""]) == (b or [""]))
    assert len(key_of(*a)) == 32


def test_keys_are_the_same_on_every_machine_and_in_every_year() -> None:
    assert key_of("train", "a") == "3c0761eca77727f5399e834e8d52012a"
    assert seed_of(1, "order", 3, 7) == 3911841514918265421


@given(COORDINATES, COORDINATES, st.integers(0), st.integers(0))
def test_seeds_come_from_every_coordinate(
    a: list[int | str], b: list[int | str], one: int, two: int
) -> None:
    assert (seed_of(one, *a) == seed_of(two, *b)) == ((one, a) == (two, b))
    assert 0 <= seed_of(one, *a) < 2**63


def test_a_number_is_not_its_text() -> None:
    assert seed_of(1, "client", 3) != seed_of(1, "client", "3")


def test_the_digest_of_files_sees_content_and_name_but_not_the_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("x = 1")
    second.write_text("x = 2")
    digest = digest_of_files([first, second])
    assert digest_of_files([second, first]) == digest
    second.write_text("x = 3")
    assert digest_of_files([first, second]) != digest
    second.write_text("x = 2")
    assert digest_of_files([first, second.rename(tmp_path / "c.py")]) != digest
