"""Repeats: a run in other possible worlds, kept in its trace; nothing is trained twice."""

import multiprocessing
import subprocess
import sys
import time
from contextlib import suppress
from io import StringIO
from math import inf, isinf, isnan, nan
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import simfl
from simfl.assembly import check
from simfl.errors import ScenarioError
from simfl.memo import Store
from simfl.record.repeats import SHARES, Spread, lacking
from simfl.record.schema import COLUMNS
from simfl.record.summary import summarise
from simfl.simulation import Listeners
from simfl.spreads import folded
from simfl.terminal import show_report

NAME = "smoke/prunefl_federated"
ALONE: dict[str, Any] = {"store": False, "executor": "inline"}
SAME = ("time_s", "target_s", "rounds", "accuracy", "down_bytes", "up_bytes", "anew", "status")
DRAWS = "platform.variation.draw=1,2,3,4,5"
BRIEF = ["repeats=5", "stop.accuracy=0.5"]


def afresh(out: Path, *changes: str, **host: Any) -> simfl.Trace:
    return simfl.run(simfl.load(NAME, [*BRIEF, *changes]), out=out, **{**ALONE, **host})


def tables(trace: simfl.Trace) -> dict[str, bytes]:
    return {table: trace.raw(table).tobytes() for table in COLUMNS}


def shown(trace: simfl.Trace) -> str:
    console = Console(file=StringIO(), width=200)
    show_report(console, trace)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> simfl.Trace:
    """A run with five repeats, in a folder without a store."""
    return afresh(tmp_path_factory.mktemp("base") / "run.h5", workers=1)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Stores that may compute, as they are made in this process."""
    made: list[Store] = []
    init = Store.__init__

    def noted(self: Store, *args: Any, **names: Any) -> None:
        init(self, *args, **names)
        if not names.get("frozen"):
            made.append(self)

    monkeypatch.setattr(Store, "__init__", noted)
    return made


def test_repeats_differ_in_time_and_in_nothing_that_is_learnt(base: simfl.Trace) -> None:
    repeats = base.repeats
    assert list(repeats.columns) == [name for name, _ in COLUMNS["repeats"]]
    assert repeats["draw"].tolist() == [1, 2, 3, 4, 5]
    times_s = [*repeats["time_s"], summarise(base).time_s]
    assert len(set(times_s)) == 6
    # the Pis compute for a third of the time, and are off by some 20 %
    assert max(times_s) < 1.25 * min(times_s)
    assert set(repeats["accuracy"]) == {summarise(base).accuracy}
    assert (repeats["target_s"] <= repeats["time_s"]).all()
    assert set(repeats["status"]) == {base.status}
    assert not repeats["anew"].any()


def test_each_repeat_is_the_what_if_of_its_draw_and_the_run_in_that_world(
    base: simfl.Trace, tmp_path: Path
) -> None:
    found = simfl.whatif(base, DRAWS, workers=1, folder=tmp_path)
    for name in SAME:
        assert found[name].tolist() == base.repeats[name].tolist(), name
    for draw, path in enumerate(sorted(tmp_path.glob("run-*.h5")), 1):
        curves = base.repeat_curves
        curve = curves[curves["draw"] == draw].drop(columns="draw").reset_index(drop=True)
        assert curve.equals(simfl.Trace(path).curve[list(curve)].astype(curve.dtypes)), draw
    one = afresh(tmp_path / "one.h5", "platform.variation.draw=3", "repeats=0")
    assert tables(simfl.Trace(tmp_path / "run-0002.h5")) == tables(one)
    assert one.scenario == simfl.Trace(tmp_path / "run-0002.h5").scenario
    assert "seed 3  draw 3" in shown(one)


def test_the_draw_of_the_run_itself_is_no_matter(base: simfl.Trace, tmp_path: Path) -> None:
    other = afresh(tmp_path / "run.h5", "platform.variation.draw=4")
    assert summarise(other).time_s == base.repeats["time_s"][3]
    assert other.raw("repeats").tobytes() == base.raw("repeats").tobytes()


def burn() -> None:
    """Load one core."""
    while True:
        sum(range(10_000))


def test_neither_processes_nor_a_loaded_host_change_a_repeat(
    base: simfl.Trace, tmp_path: Path
) -> None:
    burners = [multiprocessing.get_context("spawn").Process(target=burn) for _ in range(2)]
    for burner in burners:
        burner.start()
    try:
        loaded = afresh(tmp_path / "run.h5", workers=3)
    finally:
        for burner in burners:
            burner.kill()
            burner.join()
    assert tables(loaded) == tables(base)


def test_nothing_is_trained_for_repeats_and_none_is_played_twice(
    base: simfl.Trace, tmp_path: Path, trained: list[Store]
) -> None:
    again = afresh(tmp_path / "run.h5", workers=1)
    assert tables(again) == tables(base)
    assert len(trained) == 1
    assert trained[0].computed["train"] == (base.activities["verb"] == "train").sum()
    rows: list[dict[str, Any]] = []
    simfl.resume(again.path, listeners=Listeners(repeat=rows.append), **ALONE)
    assert (len(trained), rows) == (1, [])


@pytest.mark.parametrize("stands", [[], [1, 2], [2, 5]])
def test_repeats_that_are_missing_are_added_when_the_run_is_resumed(
    base: simfl.Trace, tmp_path: Path, stands: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed while it was timed again is complete, and says what it lacks."""
    from simfl import api

    with monkeypatch.context() as patched:
        patched.setattr(api, "repeated", lambda trace, *_: trace)
        killed = afresh(tmp_path / "run.h5")
    assert killed.complete
    assert len(killed.repeats) == 0
    from simfl.record.writer import append_rows

    rows = [row.item() for row in base.raw("repeats") if row["draw"] in stands]
    if rows:
        append_rows(killed.path, {"repeats": rows})
    killed = simfl.Trace(killed.path)
    assert lacking(killed) == sorted({1, 2, 3, 4, 5} - set(stands))
    assert f"{5 - len(stands)} repeats are missing; simfl resume {killed.path}" in shown(killed)
    whole = simfl.resume(killed.path, **ALONE)
    assert lacking(whole) == []
    for table in ("repeats", "repeat_curves"):
        rows = sorted(map(bytes, whole.raw(table)))
        due = sorted(map(bytes, base.raw(table)))
        # of the worlds that stand, the curves were not written here
        lost = sum(row["draw"] in stands for row in base.raw(table)) if "curves" in table else 0
        assert set(rows) <= set(due)
        assert len(rows) == len(due) - lost
    assert not list(tmp_path.glob("*.added"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at the system's processes")
def test_a_run_killed_in_its_repeats_is_complete_leaves_no_process_and_goes_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.h5"
    words = ["run", NAME, *BRIEF, "repeats=24", "--quiet", "--out", str(path)]
    words += ["--executor", "inline", "--workers", "3"]
    process = subprocess.Popen([sys.executable, "-m", "simfl", *words], start_new_session=True)
    # training takes no process of its own
    while len(alive(process.pid)) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    killed = simfl.Trace(path)
    assert killed.complete
    assert len(killed.repeats) == 0
    patience_s = time.monotonic() + 30
    while alive(process.pid):
        assert time.monotonic() < patience_s
        time.sleep(0.05)
    whole = simfl.resume(path, executor="inline")
    assert lacking(whole) == []


def alive(session: int) -> list[int]:
    """Processes of a session that have not ended; threads are none of their own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def test_a_crowd_has_other_members_in_another_world() -> None:
    def crowd(*changes: str) -> list[str]:
        phones = "platform.devices={server: {model: g3s_xlarge}, phone: {model: phones_propius, "
        scenario = simfl.load(
            NAME, [phones + "count: 8}}", "platform.network={kind: star}", *changes]
        )
        return [device.name for device in check(scenario).devices.values()]

    draws = [crowd(f"platform.variation.draw={n}") for n in (0, 1, 2)]
    assert draws[0] == crowd()
    assert len(set(map(tuple, draws))) == 3
    assert crowd("platform.variation={draw: 1, unit: false}") == draws[0]


def test_a_stop_by_time_says_which_worlds_need_more_than_is_recorded(tmp_path: Path) -> None:
    changes = ["repeats=20", "stop.accuracy=0.99", "stop.time=20 s"]
    trace = afresh(tmp_path / "run.h5", *changes)
    repeats = trace.repeats
    more = repeats[repeats["anew"] > 0]
    assert 0 < len(more) < 20
    assert (more["rounds"] >= summarise(trace).rounds).all()
    assert repeats["time_s"].max() <= 20
    spread = summarise(trace).repeats["target_s"]
    # where all is recorded the target is never reached, elsewhere it is not known
    assert spread.never + spread.unknown == 20
    assert spread.unknown == repeats["target_s"].isna().sum() <= len(more)
    text = " ".join(shown(trace).split())
    assert f"{len(more)} of 20 need local updates that are not recorded" in text
    assert f"accuracy 0.99 is not reached in {spread.never} of 20" in text
    assert "time to accuracy 0.99 never never never never never" in text


def test_a_report_has_percentiles(base: simfl.Trace) -> None:
    text = " ".join(shown(base).split())
    assert "in 5 possible worlds median 5 % 25 % 75 % 95 %" in text
    times_s = sorted(base.repeats["time_s"])
    assert f"simulated time {times_s[2]:.1f} s" in text
    assert "time to accuracy 0.5" in text
    assert "not reached" not in text


def test_percentiles_lie_between_neighbours_and_never_is_the_last() -> None:
    values = [float(n) for n in range(21)]
    assert Spread.of(values[::-1]).percentiles == pytest.approx([20 * share for share in SHARES])
    spread = Spread.of([nan, inf, 3.0, 1.0, inf, 2.0])
    assert (spread.worlds, spread.never, spread.unknown) == (6, 2, 1)
    assert spread.percentiles[1:3] == (2.0, 3.0)
    assert all(map(isinf, spread.percentiles[3:]))
    unknown = Spread.of([nan, nan])
    assert unknown.unknown == 2
    assert all(map(isnan, unknown.percentiles))


def test_what_if_plays_each_point_once(base: simfl.Trace, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"repeats: a what-if plays .*variation\.draw=1,2,3"):
        simfl.whatif(base, "repeats=2")
    simfl.whatif(base, "platform.network.rate=5 Mbit/s", folder=tmp_path)
    point = simfl.Trace(tmp_path / "run-0000.h5")
    assert len(point.repeats) == 0
    assert lacking(point) == []


def test_a_sweep_has_percentiles_and_resumes_them(tmp_path: Path) -> None:
    source = tmp_path / "small.yaml"
    source.write_text(simfl.load(NAME, BRIEF).as_yaml())
    rates = "platform.network.rate=5 Mbit/s,20 Mbit/s"
    host: dict[str, Any] = {"folder": tmp_path / "out", "executor": "inline", "workers": 1}
    found = simfl.sweep(source, rates, **host)
    columns = [f"time_p{n}_s" for n in ("05", "25", "50", "75", "95")]
    assert (found[columns].diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
    trace = simfl.Trace(found["trace"][0])
    assert found["time_p50_s"][0] == trace.repeats["time_s"].median()
    assert found["never"].tolist() == [0, 0]
    assert simfl.sweep(source, rates, **host).equals(found)
    shown = folded(found)
    assert not list(shown.filter(regex="_p[0-9][0-9]"))
    low, median, high = (f"{found[f'time_p{n}_s'][0]:,.1f}" for n in ("05", "50", "95"))
    assert shown["time, median (5 to 95 %)"][0] == f"{median} ({low} to {high}) s"
    assert len(shown.columns) == len(found.columns) - 4 * len(SHARES) + 4


@pytest.mark.parametrize("where", ["platform.variation.draw=-1", "repeats=-1", "repeats=1.5"])
def test_draws_and_repeats_are_counts(where: str) -> None:
    with pytest.raises(ScenarioError, match=where.partition("=")[0].replace(".", r"\.")):
        simfl.load(NAME, [where])


def test_sources_are_switched_off_by_name(base: simfl.Trace) -> None:
    off = [f"platform.variation.{kind}=false" for kind in ("model", "unit", "step", "throttling")]
    still = simfl.whatif(base, "platform.variation.draw=1,2", *off, workers=1)
    assert set(still["time_s"]) == {summarise(base).time_s}
    some = simfl.whatif(base, "platform.variation.draw=1", *off[1:], workers=1)
    assert some["time_s"][0] not in {summarise(base).time_s, base.repeats["time_s"][0]}


def test_a_lossy_network_has_other_losses_in_another_world(tmp_path: Path) -> None:
    lossy = "{down: 20 Mbit/s, up: 5 Mbit/s, latency: 10 ms, jitter: 2 ms, loss: 0.01}"
    network = f"platform.network={{kind: star, access: {lossy}}}"
    scenario = simfl.load("smoke/star_lte", ["protocol.rounds=1", "stop={}", network])
    trace = simfl.run(scenario, out=tmp_path / "run.h5", **ALONE)
    off = [f"platform.variation.{kind}=false" for kind in ("model", "unit", "step", "throttling")]
    found = simfl.whatif(trace, "platform.variation.draw=0,1,2", *off, workers=1)
    assert found["time_s"][0] == summarise(trace).time_s
    assert len(set(found["time_s"])) == 3
