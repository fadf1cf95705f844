"""Measured transfers, and the command that holds the network model against them."""

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from simfl.cli import main
from simfl.errors import NetworkError
from simfl.verification import errors_of, last_s, play, predict, read_cases, table_of

TRUTH = Path(__file__).parents[2] / "shared" / "network" / "truth_public.jsonl"
Row = dict[str, Any]


def link(name: str, rate_bps: float = 10e6, **more: Any) -> Row:
    return {
        "name": name,
        "rate_bps": rate_bps,
        "delay_s": 0.05,
        "queue_bytes": 100_000,
        "ovh_bytes": 14,
        "aqm": "",
        "sched": [],
        "cell": None,
        **more,
    }


def flow(size: int, measured_s: float | None = None, **more: Any) -> Row:
    measured = {} if measured_s is None else {"measured_s": {"median": measured_s, "n": 3}}
    return {"src": 0, "dst": 1, "size": size, "start": 0.0, "warm": 1, "dep": -1} | measured | more


def case(*flows: Row, **more: Any) -> Row:
    """Two hosts, joined by two links of 10 Mbit/s and 50 ms."""
    return {
        "id": "one",
        "family": "A_single",
        "note": "as it came from the bench",
        "hosts": ["A", "B"],
        "links": [link("ab"), link("ba")],
        "routes": [{"src": 0, "dst": 1, "links": [0]}, {"src": 1, "dst": 0, "links": [1]}],
        "flows": list(flows) or [flow(1448)],
        **more,
    }


def write(path: Path, *rows: Row) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run ``simfl verify-network``: exit code, stdout, stderr."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["simfl", "verify-network", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capfd.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


# one segment on 10 Mbit/s, and an acknowledgement
PACKET_S, REPLY_S = 1514 * 8 / 10e6, 66 * 8 / 10e6
RTT_S = 0.1 + PACKET_S + REPLY_S
SINGLE = {
    "a segment": (case(flow(1448)), PACKET_S + 0.05),
    "a second round": (case(flow(11 * 1448)), RTT_S + PACKET_S + 0.05),
    "cold": (case(flow(1448, warm=0)), 0.1 + 2 * REPLY_S + PACKET_S + 0.05),
    "the other way": (case(flow(2896, src=1, dst=0)), 2 * PACKET_S + 0.05),
    "later": (case(flow(1448, start=3.0)), PACKET_S + 0.05),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("windows", [True, False])
def test_single_flows_by_hand(name: str, windows: bool, tmp_path: Path) -> None:
    row, seconds = SINGLE[name]
    [one] = read_cases(write(tmp_path / "cases.jsonl", row))
    [found_s] = play(one, seed=1, windows=windows)
    assert found_s == pytest.approx(seconds, abs=1e-9)


def test_an_outage_stops_a_packet_half_way(tmp_path: Path) -> None:
    row = case(links=[link("ab", sched=[[0.0005, 0.0], [2.0, 5e6]]), link("ba")])
    [one] = read_cases(write(tmp_path / "cases.jsonl", row))
    seconds = 2.0 + 2 * (PACKET_S - 0.0005) + 0.05
    assert play(one, seed=1) == pytest.approx([seconds], abs=1e-9)


@pytest.mark.parametrize("windows", [True, False])
def test_a_station_uses_its_own_rate_and_its_share_of_an_access(
    windows: bool, tmp_path: Path
) -> None:
    air = {"srate": [0, 20e6, 5e6], "txop_us": 100, "agg": 4}
    wire = {"rate_bps": 1e9, "delay_s": 0.0}
    links = [link("down", **wire), link("air", 0, delay_s=0.0, cell=air), link("up", **wire)]
    routes = [
        {"src": 0, "dst": 1, "links": [0, 1], "cell_station": [0, 2]},
        {"src": 1, "dst": 0, "links": [1, 2], "cell_station": [2, 0]},
    ]
    row = case(flow(5_000_000), links=links, routes=routes)
    [one] = read_cases(write(tmp_path / "cases.jsonl", row))
    packets_s = 5_000_000 / 1448 * (1514 * 8 / 5e6 + 25e-6)
    # acknowledgements: half a packet and a half of half an access each; fair shares have none
    replies_s = 5_000_000 / 1448 * (66 * 8 / 5e6 + 50e-6) / 2
    expected_s = packets_s + (replies_s if windows else 0.0)
    assert play(one, seed=1, windows=windows) == pytest.approx([expected_s], rel=0.02)


def test_a_flow_waits_for_the_one_before_it(tmp_path: Path) -> None:
    row = case(flow(1448, 0.1), flow(1448, 0.2, src=1, dst=0, start=1.0, dep=0))
    [one] = read_cases(write(tmp_path / "cases.jsonl", row))
    alone_s = PACKET_S + 0.05
    assert play(one, seed=1) == pytest.approx([alone_s, alone_s], abs=1e-9)
    assert last_s(one, [0.1, 0.2]) == pytest.approx(1.3)
    assert last_s(one, [2.0, 0.2]) == pytest.approx(3.2)


def test_predictions_are_medians_over_seeds(tmp_path: Path) -> None:
    lossy = case(flow(500_000), links=[link("ab", loss=0.02), link("ba")])
    [one] = read_cases(write(tmp_path / "cases.jsonl", lossy))
    runs = [play(one, seed=seed) for seed in range(4, 9)]
    assert len({times[0] for times in runs}) > 1
    assert predict(one, repeats=5, seed=4) == [median(times[0] for times in runs)]
    assert predict(one, repeats=5, seed=4) == predict(one, repeats=5, seed=4)


def test_errors_are_relative_per_flow_and_of_the_last(tmp_path: Path) -> None:
    row = case(flow(1448, 1.0), flow(1448, 2.0, start=5.0))
    rows = [row, case(flow(1448, 1.0), id="two", family="B"), case(id="unmeasured", family="B")]
    cases = read_cases(write(tmp_path / "cases.jsonl", *rows))
    predicted = [[1.1, 1.8], [0.5], [9.9]]
    errors = errors_of(cases[0], predicted[0])
    assert errors["flow"].tolist() == [0, 1, -1]
    assert errors["error"].tolist() == pytest.approx([0.1, -0.1, -0.2 / 7])
    assert errors_of(cases[2], predicted[2]).empty
    table = table_of(cases, predicted).set_index("family")
    assert table["cases"].to_dict() == {"A_single": 1, "B": 1, "several flows": 1}
    assert table["flows"].to_dict() == {"A_single": 2, "B": 1, "several flows": 2}
    assert table.loc["several flows", "last_median"] == pytest.approx(0.2 / 7)
    assert table.loc["B", "flow_p95"] == pytest.approx(0.5)


def test_a_flow_that_never_ends_is_told(tmp_path: Path) -> None:
    row = case(links=[link("ab", sched=[[0.0005, 0.0]]), link("ba")])
    [one] = read_cases(write(tmp_path / "cases.jsonl", row))
    for windows in (True, False):
        with pytest.raises(NetworkError, match="case 'one': flow 0 never ends"):
            play(one, seed=1, windows=windows)


def changed(**changes: Any) -> Row:
    """The case, with deep changes: ``links__0__rate_bps=0``."""
    row = deepcopy(case())
    for path, value in changes.items():
        *way, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        into: Any = row
        for key in way:
            into = into[key]
        if value is None:
            del into[last]
        else:
            into[last] = value
    return row


AIR = {"srate": [0, 20e6], "txop_us": 100, "agg": 4}
WRONG: dict[str, tuple[str, str]] = {
    "no JSON": ("{'id': 1}", "no JSON (Expecting property name"),
    "no object": ("[1, 2]", "the case: Input should be a valid dictionary"),
    "no id": (json.dumps(changed(id=None)), "id: Field required"),
    "no flows": (json.dumps(changed(flows=[])), "flows: List should have at least 1 item"),
    "no rate": (
        json.dumps(changed(links__0__rate_bps=0)),
        "links.0: a link without a cell needs a positive rate_bps",
    ),
    "negative rate": (json.dumps(changed(links__1__rate_bps=-1)), "links.1.rate_bps: Input should"),
    "no number": (json.dumps(changed(links__0__delay_s=float("nan"))), "links.0.delay_s: Input"),
    "endless": (json.dumps(changed(flows__0__start=float("inf"))), "flows.0.start: Input should"),
    "all is lost": (json.dumps(changed(links__0__loss=1)), "links.0.loss: Input should be less"),
    "unknown queue": (json.dumps(changed(links__0__aqm="red")), "links.0.aqm: Input should be"),
    "unknown control": (json.dumps(changed(congestion_control="vegas")), "congestion_control:"),
    "backwards": (
        json.dumps(changed(links__0__sched=[[2, 1e6], [1, 2e6]])),
        "links.0: times in sched must rise",
    ),
    "no such link": (
        json.dumps(changed(routes__0__links=[7])),
        "the case: a route names a host or a link that is not",
    ),
    "no such host": (json.dumps(changed(hosts=["A"])), "the case: a route names a host or a link"),
    "no route": (
        json.dumps(changed(flows__0__dst=5)),
        "the case: flow 0 has no route from 0 to 5, or none back",
    ),
    "no way back": (
        json.dumps(changed(routes=[{"src": 0, "dst": 1, "links": [0]}])),
        "the case: flow 0 has no route from 0 to 1, or none back",
    ),
    "waits for itself": (
        json.dumps(changed(flows__0__dep=0)),
        "the case: flow 0 waits for flow 0, which does not come before it",
    ),
    "no such station": (
        json.dumps(changed(links__0__cell=AIR, routes__0__cell_station=[2])),
        "the case: a route uses station 2 of a cell, which has no rate",
    ),
    "no station": (
        json.dumps(changed(links__0__cell=AIR)),
        "the case: a route uses station 0 of a cell, which has no rate",
    ),
    "stations of other links": (
        json.dumps(changed(links__0__cell=AIR, routes__0__cell_station=[1, 1])),
        "the case: cell_station has not one entry a link",
    ),
    "measured in no time": (
        json.dumps(changed(flows__0__measured_s={"median": 0})),
        "flows.0.measured_s.median: Input should be greater than 0",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_line_is_told_with_its_place(
    call: Callable[..., tuple[int, str, str]], mistake: str, tmp_path: Path
) -> None:
    line, words = WRONG[mistake]
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(case(id="first")) + "\n\n" + line + "\n")
    code, _, stderr = call(path, "--out", tmp_path / "out.jsonl")
    assert code == 2
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith(f"error: {path}:3: {words}")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_cases(
    call: Callable[..., tuple[int, str, str]], content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "cases.jsonl"
    if content is not None:
        path.write_bytes(content)
    code, _, stderr = call(path)
    assert code == 2
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith(f"error: {path}: ")
    assert "give a file of JSON lines" in stderr


def test_the_command_writes_predictions_and_tells_errors(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    exact_s = PACKET_S + 0.05
    rows = [
        case(flow(1448, exact_s), id="x"),
        case(flow(1448, 2 * exact_s), flow(1448, exact_s, src=1, dst=0), id="y", family="B_two"),
    ]
    path, out = write(tmp_path / "cases.jsonl", *rows), tmp_path / "out.jsonl"
    code, stdout, stderr = call(path, "--out", out, "--repeats", "1")
    assert (code, stderr) == (0, "")
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in written] == ["x", "y"]
    assert [len(row["flows"]) for row in written] == [1, 2]
    assert written[0] == {"id": "x", "flows": [{"predicted_s": pytest.approx(exact_s, abs=1e-9)}]}
    found = {line.split()[0]: line.split() for line in stdout.splitlines() if line.strip()}
    assert found["A_single"][1:] == ["1", "1", "0.0%", "/", "0.0%", "0.0%", "/", "0.0%"]
    assert found["B_two"][1:3] == ["1", "2"]
    # the first is half of what was measured, and is the last to end
    assert found["B_two"][-3:] == ["50.0%", "/", "50.0%"]


@pytest.mark.parametrize("more", [[], ["--fair"]])
def test_without_measurements_there_are_predictions_only(
    call: Callable[..., tuple[int, str, str]], more: list[str], tmp_path: Path
) -> None:
    path, out = write(tmp_path / "cases.jsonl", case(flow(14480))), tmp_path / "out.jsonl"
    code, stdout, _ = call(path, "--out", out, *more)
    assert code == 0
    assert stdout.strip() == "nothing was measured in this file: predictions only"
    [row] = [json.loads(line) for line in out.read_text().splitlines()]
    assert row["flows"][0]["predicted_s"] == pytest.approx(0.05 + 10 * PACKET_S, abs=1e-9)


def test_predictions_that_cannot_be_written(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = write(tmp_path / "cases.jsonl", case())
    code, _, stderr = call(path, "--out", tmp_path / "no" / "out.jsonl", "--quiet")
    assert code == 2
    assert "cannot be written" in stderr


@pytest.mark.data
@pytest.mark.slow
def test_against_real_tcp() -> None:
    if not TRUTH.is_file():
        pytest.skip("the measured transfers are not at hand")
    cases = read_cases(TRUTH)
    assert (len(cases), sum(len(one.flows) for one in cases)) == (169, 1220)
    table = table_of(cases, [predict(one, repeats=3) for one in cases]).set_index("family")
    assert table.loc["A_single", "flow_median"] < 0.005
    assert table.loc["H_small", "flow_median"] < 0.005
    assert table.loc["several flows", "last_median"] < 0.03
    assert table.loc["several flows", "cases"] > 50
