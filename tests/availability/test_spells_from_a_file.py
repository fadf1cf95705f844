from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import simfl
from simfl.assembly import check
from simfl.availability.trace_file import TraceFileOptions, trace_file
from simfl.errors import OptionError, ScenarioError

HEAD = "device,start_s,end_s\n"
LINES = "a,0,10\nb,5,6.5\n\na,20,30\n"


def spells(path: Path, nodes: list[str], seed: int = 1, **options: Any) -> dict[str, Any]:
    made = TraceFileOptions(path=path.name, **options)
    found = trace_file(made, nodes, folder=path.parent, seed=seed)
    return {node: list(islice(one, 5)) for node, one in found.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "phones.csv"
    path.write_text(HEAD + LINES)
    return path


def test_each_node_has_the_spells_of_its_name(path: Path) -> None:
    assert spells(path, ["b", "a"]) == {"b": [(5, 6.5)], "a": [(0, 10), (20, 30)]}


def test_a_byte_order_mark_is_no_column(path: Path) -> None:
    path.write_text(HEAD + LINES, encoding="utf-8-sig")
    assert spells(path, ["b"]) == {"b": [(5, 6.5)]}


def test_they_come_again(path: Path) -> None:
    [found] = spells(path, ["a"], repeat_every="30 s").values()
    assert found == [(0, 10), (20, 30), (30, 40), (50, 60), (60, 70)]


def test_devices_are_dealt_out(path: Path) -> None:
    names = [f"n{i}" for i in range(6)]
    dealt = spells(path, names, deal="drawn")
    kinds = [len(one) for one in dealt.values()]
    # two devices for six nodes: each of them three times
    assert sorted(kinds) == [1, 1, 1, 2, 2, 2]
    assert spells(path, names, deal="drawn") == dealt
    drawn = [spells(path, names, seed=seed, deal="drawn") for seed in range(9)]
    assert any(other != dealt for other in drawn)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("", {}, "line 1: give the columns device,start_s,end_s"),
        ("device,start,end\n", {}, "line 1: give the columns device,start_s,end_s"),
        (HEAD, {}, "no spells; add a line for each"),
        (HEAD + "a,1\n", {}, "line 2: 'a,1' is no device,start_s,end_s"),
        (HEAD + "a,1,soon\n", {}, "line 2: 'a,1,soon' is no"),
        (HEAD + "a,5,5\n", {}, "line 2: from 5 to 5; give 0 <= start_s < end_s"),
        (HEAD + "a,-1,5\n", {}, "line 2: from -1 to 5"),
        (HEAD + "a,0,inf\n", {}, "line 2: from 0 to inf"),
        (HEAD + "a,0,9\na,5,12\n", {}, "line 3: begins before the spell of line 2 has ended"),
        (HEAD + "b,0,9\n", {}, "has no line for a; add them, or say deal: drawn"),
        (HEAD + "a,0,9\n", {"repeat_every": "5 s"}, "5 s is shorter than the times of"),
        (b"\xff\xfe\x00", {}, "give a CSV file"),
        (None, {}, "No such file or directory; give a CSV file"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: Any, options: dict[str, Any], told: str) -> None:
    path = tmp_path / "phones.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OptionError) as caught:
        spells(path, ["a"], **options)
    assert told in str(caught.value)
    assert "phones.csv" in str(caught.value)


def test_a_scenario_says_where(tmp_path: Path) -> None:
    source = Path("scenarios/smoke/ring.yaml").read_text()
    path = tmp_path / "ring.yaml"
    line = "  availability: {name: trace_file, path: phones.csv}\ntopology:"
    path.write_text(source.replace("topology:", line))
    (tmp_path / "phones.csv").write_text(HEAD + "pi3,0,1\n")
    with pytest.raises(ScenarioError) as caught:
        check(simfl.load(path))
    found = str(caught.value)
    assert found.startswith(f"{path}:")
    assert "platform.availability.path: " in found
    assert "has no line for pi4-0, pi4-1, pi4-2, pi4-3" in found


def test_a_charge_needs_a_battery() -> None:
    change = "platform.devices.pi3.charge=0.5"
    with pytest.raises(
        ScenarioError, match=r"devices.pi3.charge: the file of pi3 names no battery"
    ):
        check(simfl.load("smoke/ring", [change]))
    phone = ["platform.devices.pi3.model=pixel3_assumed", change]
    [(node, joules)] = check(simfl.load("smoke/ring", phone)).charges_j.items()
    assert node == "pi3"
    assert joules == pytest.approx(0.5 * 11.2 * 3600)
    with pytest.raises(ScenarioError, match="charge"):
        simfl.load("smoke/ring", ["platform.devices.pi3.charge=0"])
