"""What if: re-timed runs equal fresh ones, and what is not recorded is counted, or trained."""

import gc
import importlib.util
import os
import random
import shutil
import signal
import struct
import sys
from contextlib import suppress
from math import inf, isnan
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import simfl
from simfl import assembly, hosting, retiming
from simfl.datasets.base import RecordedDataset
from simfl.errors import (
    DataError,
    DeviceMemoryError,
    ExecutorError,
    ReplayMiss,
    ScenarioError,
    TraceError,
)
from simfl.memo import Recipe, Store
from simfl.record.schema import COLUMNS
from simfl.record.summary import summarise
from simfl.recording import Progress
from simfl.retiming import points_of
from simfl.simulation import Listeners
from simfl.work import Manifest, TensorInfo, Turn

FEDAVG, PRUNEFL = "smoke/fedavg_access_links", "smoke/prunefl_federated"
# three of five clients in each of four rounds, evaluated after every second one
BRIEF = [
    "learning.model={name: simple_cnn}",
    "learning.local.epochs=null",
    "learning.local.steps=2",
    "protocol.rounds=4",
    "stop={}",
]
TURNS = 4 * 3
ALONE: dict[str, Any] = {"store": False, "executor": "inline"}
UP = "platform.network.up=1 Mbit/s,9 Mbit/s"


def tables(trace: simfl.Trace) -> dict[str, bytes]:
    return {table: trace.raw(table).tobytes() for table in COLUMNS}


def afresh(out: Path, *changes: str, name: str = FEDAVG) -> simfl.Trace:
    return simfl.run(simfl.load(name, [*BRIEF, *changes]), out=out, **ALONE)


def train_keys(trace: simfl.Trace) -> set[str]:
    return set(trace.activities["key"][trace.activities["verb"] == "train"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> simfl.Trace:
    """A run with a store beside it."""
    out = tmp_path_factory.mktemp("base") / "run.h5"
    return simfl.run(simfl.load(FEDAVG, BRIEF), out=out, executor="inline")


@pytest.fixture
def own(base: simfl.Trace, tmp_path: Path) -> simfl.Trace:
    """The same in a folder of its own, to train on."""
    shutil.copytree(base.path.parent, tmp_path / "own")
    return simfl.Trace(tmp_path / "own" / "run.h5")


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Every store that a what-if opens, to see what it computed."""
    made: list[Store] = []

    class Counted(Store):
        def __init__(self, *args: Any, **names: Any) -> None:
            super().__init__(*args, **names)
            made.append(self)

    monkeypatch.setattr(retiming, "Store", Counted)
    return made


# exactness -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The script that draws many such pairs."""
    path = Path(__file__).parent.parent / "analysis" / "whatif_is_exact.py"
    spec = importlib.util.spec_from_file_location("whatif_is_exact", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# FedAvg and PruneFL with cohorts, pruned at the server or on and on; peers in a random graph and
# a ring; some go on for longer than what was recorded
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1, "re-timed"),
        (3, "re-timed"),
        (8, "evaluated oftener"),
        (11, "re-timed"),
        (14, "re-timed"),
        (18, "went on"),
    ],
)
def test_re_timed_is_afresh_byte_for_byte(
    study: ModuleType, tmp_path: Path, number: int, kind: str
) -> None:
    pair = study.drawn_pair(random.Random(f"1 {number}"))
    assert study.judged(pair, tmp_path) == (kind, [])


def test_a_point_without_changes_is_the_run_itself(base: simfl.Trace, tmp_path: Path) -> None:
    found = simfl.whatif(base, folder=tmp_path)
    summary = summarise(base)
    [row] = found.to_dict("records")
    assert isnan(row.pop("target_s"))
    assert isnan(row.pop("target_joules"))
    assert row.pop("joules") == pytest.approx(summary.joules, rel=1e-12)
    assert row == {
        "time_s": summary.time_s,
        "rounds": 4,
        "accuracy": summary.accuracy,
        "down_bytes": summary.down_bytes,
        "up_bytes": summary.up_bytes,
        "turns": TURNS,
        "status": base.status,
        "anew": 0,
        "first_anew": "",
    }
    again = simfl.Trace(tmp_path / "run-0000.h5")
    assert tables(again) == tables(base)
    assert again.attributes == base.attributes


def test_the_time_to_a_target_is_that_of_a_fresh_run(base: simfl.Trace, tmp_path: Path) -> None:
    reached = float(base.curve["accuracy"].iloc[1])
    changes = [f"stop.accuracy={reached}", "platform.network.up=2 Mbit/s"]
    fresh = afresh(tmp_path / "fresh.h5", *changes)
    assert "accuracy" in fresh.status
    [row] = simfl.whatif(base, *changes).to_dict("records")
    assert row["target_s"] == summarise(fresh).target_s < inf
    assert (row["status"], row["time_s"]) == (fresh.status, summarise(fresh).time_s)


# nothing is trained --------------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def on_mnist(tmp_path_factory: pytest.TempPathFactory) -> tuple[simfl.Trace, Path]:
    """A run on a data set that lay on disk, and where it lay."""
    folder = tmp_path_factory.mktemp("on_mnist")
    draw = np.random.default_rng(1)
    for part, samples in (("train", 100), ("t10k", 20)):
        raw = folder / "data" / "MNIST" / "raw"
        write_idx(raw / f"{part}-images-idx3-ubyte", draw.integers(0, 256, (samples, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(samples) % 10)
    data = "learning.dataset={name: mnist, fallback: digits}"
    scenario = simfl.load(FEDAVG, [*BRIEF, data])
    out = folder / "run.h5"
    return simfl.run(scenario, data_dir=folder / "data", out=out, **ALONE), folder / "data"


def test_nothing_is_opened_and_nothing_started(
    on_mnist: tuple[simfl.Trace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = simfl.Trace(shutil.copy(on_mnist[0].path, tmp_path / "run.h5"))

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(assembly, "locate", never)
    monkeypatch.setattr(hosting.Host, "open_store", never)
    monkeypatch.setattr(hosting.Host, "make_executor", never)
    monkeypatch.setattr(Store, "compute", never)
    # also where it is counted what would have to be trained
    changes = [UP, "protocol.rounds=4,5"]
    found = simfl.whatif(trace, *changes, workers=1, data_dir="/nonexistent", executor="cuda")
    assert found["anew"].tolist() == [0, 3, 0, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]


def test_a_recorded_data_set_has_no_image(on_mnist: tuple[simfl.Trace, Path]) -> None:
    data = RecordedDataset(on_mnist[0].dataset)
    assert (data.train_samples, data.test_samples, data.sample_shape) == (100, 20, (1, 28, 28))
    with pytest.raises(ReplayMiss, match=r"mnist is not opened to re-time a run; .*--train"):
        data.train_images  # noqa: B018


def test_training_on_other_data_than_was_recorded_is_refused(
    on_mnist: tuple[simfl.Trace, Path], tmp_path: Path
) -> None:
    trace, data = on_mnist
    # no folder: digits would stand in
    with pytest.raises(DataError, match="was run on mnist, and digits as found now is other"):
        simfl.whatif(trace, "protocol.rounds=5", train=True, **ALONE)
    with pytest.raises(DataError, match="no folder"):
        simfl.whatif(trace, "protocol.rounds=5", train=True, data_dir=tmp_path / "no", **ALONE)
    found = simfl.whatif(trace, "protocol.rounds=5", train=True, data_dir=data, **ALONE)
    assert found["anew"].tolist() == [3]


def test_another_data_set_is_not_taken_for_the_recorded_one(own: simfl.Trace) -> None:
    change = "learning.dataset={name: mnist, fallback: digits}"
    with pytest.raises(ScenarioError) as told:
        simfl.whatif(own, UP, change)
    assert str(told.value) == (
        f"{change}: learning.dataset: another than digits, which is recorded; it is not opened to "
        "re-time a run; allow training (--train)"
    )
    # digits stand in again: nothing else is learnt
    [row] = simfl.whatif(own, change, train=True, executor="inline").to_dict("records")
    assert row["anew"] == 0


SHARDS = (
    "learning.dataset.partition=pathological",
    "learning.local={learning_rate: 0.1, batch_size: 7, epochs: 1}",
)


def test_shares_that_need_labels_are_taken_from_the_trace(tmp_path: Path) -> None:
    trace = afresh(tmp_path / "run.h5", *SHARDS)
    held = trace.dataset["held"]
    assert held["sizes"] == trace.nodes["samples"][trace.nodes["index"] >= 0].tolist()
    assert [sum(it.values()) for it in held["classes"]] == held["sizes"]
    assert all(len(it) < 10 for it in held["classes"])
    found = simfl.whatif(trace, UP, folder=tmp_path, workers=1)
    assert found["anew"].tolist() == [0, 0]
    assert simfl.Trace(tmp_path / "run-0000.h5").dataset == trace.dataset


@pytest.mark.parametrize("change", ["platform.devices.pi4.count=6", "seed=8"])
def test_other_shares_that_need_labels_are_not_recorded(tmp_path: Path, change: str) -> None:
    trace = afresh(tmp_path / "run.h5", *SHARDS)
    told = (
        r"learning\.dataset\.partition: pathological for \d+ clients with seed \d is not recorded"
    )
    with pytest.raises(ScenarioError, match=told + ", and digits is not opened .*--train"):
        simfl.whatif(trace, change)
    [row] = simfl.whatif(trace, change, train=True, **ALONE).to_dict("records")
    assert row["anew"] > 0
    assert row["time_s"] == summarise(afresh(tmp_path / "fresh.h5", *SHARDS, change)).time_s


@pytest.mark.parametrize("choice", ["iid", "{name: iid, parts: 50}"])
def test_other_shares_by_counts_alone_are_timed(tmp_path: Path, choice: str) -> None:
    trace = afresh(tmp_path / "run.h5", *SHARDS)
    change = f"learning.dataset.partition={choice}"
    [row] = simfl.whatif(trace, change, workers=1).to_dict("records")
    assert row["time_s"] == summarise(afresh(tmp_path / "fresh.h5", *SHARDS, change)).time_s
    assert row["anew"] == TURNS


def test_a_run_of_another_machine_is_re_timed_as_recorded(
    base: simfl.Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = afresh(tmp_path / "fresh.h5", "platform.network.up=1 Mbit/s")
    monkeypatch.setattr(assembly, "backend", lambda device: f"torch of tomorrow on {device}")
    found = simfl.whatif(base, UP, folder=tmp_path, workers=1)
    assert found["anew"].tolist() == [0, 0]
    assert tables(simfl.Trace(tmp_path / "run-0000.h5")) == tables(fresh)
    # what was not learnt there is not recorded here either
    found = simfl.whatif(base, "learning.local.steps=2,3", workers=1)
    assert found["anew"].tolist() == [0, TURNS]


# what is not recorded ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "protocol.rounds=6",
        "protocol.cohort=2",
        "protocol.cohort=null",
        "learning.local.learning_rate=0.05",
        "learning.algorithm={name: prunefl, level: 1, initial: random}",
        "platform.devices.pi4.count=6",
        "seed=8",
        "codec={name: coo}",
    ],
)
def test_anew_is_what_a_fresh_run_trains_and_is_not_recorded(
    base: simfl.Trace, tmp_path: Path, change: str
) -> None:
    fresh = afresh(tmp_path / "fresh.h5", change)
    due = train_keys(fresh) - train_keys(base)
    [row] = simfl.whatif(base, change, folder=tmp_path).to_dict("records")
    assert row["anew"] == len(due)
    timed = simfl.Trace(tmp_path / "run-0000.h5")
    # time and bytes follow from counts alone; what is guessed has no name
    assert tables(timed)["nodes"] == tables(fresh)["nodes"]
    assert tables(timed)["manifests"] == tables(fresh)["manifests"]
    assert tables(timed)["rounds"] == tables(fresh)["rounds"]
    for table in ("activities", "transfers", "scores"):
        one, other = getattr(timed, table), getattr(fresh, table)
        known = one["key"] != ""
        assert one[known].equals(other[known])
        rest = [name for name in one.columns if name not in ("key", "accuracy", "loss")]
        assert one[rest].equals(other[rest])
        if table == "scores":
            assert one["accuracy"].isna().equals(~known)
    assert due.isdisjoint(timed.recorded())
    assert timed.status == fresh.status + (f"; not recorded: {row['first_anew']}" if due else "")
    again = simfl.whatif(timed).to_dict("records")[0]
    assert (again["anew"], again["time_s"]) == (row["anew"], row["time_s"])
    if due:
        first = fresh.activities[fresh.activities["key"].isin(due)].iloc[0]
        client = fresh.nodes.set_index("node")["index"][first["node"]]
        assert row["first_anew"].startswith("train Turn(client=")
        assert row["first_anew"].endswith(f"index={first['round']})")
        assert f"client={client}," in row["first_anew"] or change.startswith("platform")
    else:
        assert row["first_anew"] == ""
        assert row["accuracy"] == summarise(fresh).accuracy
    counted = {"protocol.rounds=6": 2 * 3, "codec={name: coo}": 0, "seed=8": TURNS}
    assert row["anew"] == counted.get(change, row["anew"])


def test_scores_that_are_not_recorded_are_unknown(base: simfl.Trace) -> None:
    changes = ["record.evaluate_every=1,null,2", "stop.accuracy=0.99"]
    found = simfl.whatif(base, *changes, workers=1)
    assert found["anew"].tolist() == [0, 0, 0]
    assert found["first_anew"].tolist() == ["score", "", ""]
    assert found["record.evaluate_every"].tolist() == [1, None, 2]
    # it may have been reached where nobody looked; or nobody looked at all; or it was not
    assert isnan(found["target_s"][0])
    assert found["target_s"].tolist()[1:] == [inf, inf]
    assert found["accuracy"].isna().tolist() == [False, True, False]


def test_training_trains_what_is_missing_and_nothing_else(
    own: simfl.Trace, tmp_path: Path, stores: list[Store]
) -> None:
    fresh = [afresh(tmp_path / f"{n}.h5", f"protocol.rounds={n}") for n in (5, 7)]
    found = simfl.whatif(
        own, "protocol.rounds=5,7", train=True, executor="inline", folder=tmp_path / "traces"
    )
    # the model of round 4 was kept, then that of round 5
    assert found["anew"].tolist() == [1 * 3, 2 * 3]
    assert [store.computed["train"] for store in stores] == [1 * 3, 2 * 3]
    assert all("initial" not in store.computed for store in stores)
    for number, trace in enumerate(fresh):
        assert tables(simfl.Trace(tmp_path / f"traces/run-{number:04d}.h5")) == tables(trace)
        assert found["accuracy"][number] == summarise(trace).accuracy
    again = simfl.whatif(own, "protocol.rounds=7", train=True, executor="inline")
    assert again["anew"].tolist() == [0]
    assert stores[-1].computed == {}
    assert again["accuracy"].tolist() == found["accuracy"].tolist()[1:]


def test_training_without_a_store_gives_the_same(base: simfl.Trace, tmp_path: Path) -> None:
    change = "learning.local.learning_rate=0.05"
    fresh = afresh(tmp_path / "fresh.h5", change)
    [row] = simfl.whatif(base, change, train=True, folder=tmp_path, **ALONE).to_dict("records")
    assert row["anew"] == TURNS
    assert tables(simfl.Trace(tmp_path / "run-0000.h5")) == tables(fresh)


def test_a_frozen_store_names_the_turn_that_it_lacks() -> None:
    def train(state: Any, turn: Turn) -> Any:
        raise AssertionError

    info = TensorInfo(name="w", shape=(1,), dtype="float32", nonzero=1)
    store = Store(lambda _: Manifest(tensors=(info,)), frozen=True)
    promise = store.promise(Recipe(train, "train fedavg", (None, Turn(3, 7)), heavy=True))
    store.start(promise)
    for look in ("manifest", "value"):
        with pytest.raises(ReplayMiss, match=r"train Turn\(client=3, index=7\) .*--train"):
            getattr(promise, look)
    known = Store(lambda _: Manifest(), {promise.key: Manifest(tensors=(info,))}, frozen=True)
    assert known.promise(promise.recipe).manifest == Manifest(tensors=(info,))  # type: ignore[arg-type]


# grids ---------------------------------------------------------------------------------------


def test_the_last_key_is_the_fastest(base: simfl.Trace) -> None:
    seen: list[dict[str, Any]] = []
    rates = "platform.network.down=3 Mbit/s,1 Mbit/s"
    found = simfl.whatif(base, rates, "protocol.cohort=3,null", workers=1, on_point=seen.append)
    assert list(found.columns[:2]) == ["platform.network.down", "protocol.cohort"]
    assert found.iloc[:, 0].tolist() == ["3 Mbit/s"] * 2 + ["1 Mbit/s"] * 2
    assert found.iloc[:, 1].tolist() == [3, None] * 2
    assert [row["time_s"] for row in seen] == found["time_s"].tolist()


def test_several_processes_give_the_table_of_one(base: simfl.Trace, tmp_path: Path) -> None:
    changes = ["platform.network.up=1 Mbit/s,2 Mbit/s,3 Mbit/s", "protocol.rounds=3,5"]
    seen: list[dict[str, Any]] = []
    one = simfl.whatif(base, *changes, workers=1, folder=tmp_path / "one")
    two = simfl.whatif(base, *changes, workers=2, folder=tmp_path / "two", on_point=seen.append)
    assert one.equals(two)
    assert len(seen) == len(one) == 6
    names = [f"run-{number:04d}.h5" for number in range(6)]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    for name in names:
        assert tables(simfl.Trace(tmp_path / "one" / name)) == tables(
            simfl.Trace(tmp_path / "two" / name)
        )


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_killed_process_is_told(base: simfl.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retiming, "_time", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ExecutorError, match="a process that re-timed points was killed"):
        simfl.whatif(base, UP, workers=2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["protocol.round=3"], "protocol.round=3: protocol.round: unknown key; did you mean"),
        (["seed=1", "seed=2"], "seed: given twice; write all its values as one, key=a,b,c"),
        (["seed"], "seed: not an override; write key.path=value, e.g. seed=2"),
        (["seed="], "seed=: no value; write key.path=a,b,c"),
        (["seed=1,[2"], "seed=1,[2: the values are not YAML; quote them"),
        (["seed=1]"], "seed=1]: the values are not YAML; quote them"),
        (["protocol.cohort=3,9"], "protocol.cohort=9: protocol.cohort: 9 of 5 clients"),
        (["platform.devices.pi4.model=pi5"], "platform.devices.pi4.model=pi5: platform.devices"),
    ],
)
def test_mistakes_are_told_before_anything_is_played(
    base: simfl.Trace, changes: list[str], told: str
) -> None:
    seen: list[dict[str, Any]] = []
    with pytest.raises(ScenarioError) as error:
        simfl.whatif(base, *changes, workers=1, on_point=seen.append)
    assert str(error.value).startswith(told)
    assert seen == []


def test_values_may_hold_commas_of_their_own() -> None:
    points = points_of(["learning.algorithm.rates=[0.1, 0.2],[0.3]", "codec={name: coo},null"])
    assert [[one.value for one in point] for point in points] == [
        [[0.1, 0.2], {"name": "coo"}],
        [[0.1, 0.2], None],
        [[0.3], {"name": "coo"}],
        [[0.3], None],
    ]
    assert points[0][0].text == "learning.algorithm.rates=[0.1, 0.2]"


def test_a_run_that_did_not_end_is_not_re_timed(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"

    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    scenario = simfl.load(FEDAVG, BRIEF)
    with suppress(KeyboardInterrupt):
        simfl.run(scenario, out=path, listeners=Listeners(round=stop), **ALONE)
    gc.collect()  # and with the run, its lock
    with pytest.raises(TraceError) as told:
        simfl.whatif(path, UP)
    assert str(told.value) == f"{path}: an unfinished run (interrupted); simfl resume {path} first"


def test_a_failed_run_is_not_to_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    changes = ["learning.model={name: lenet_300_100}", "platform.devices.pi4.model=pi3"]
    with pytest.raises(DeviceMemoryError):
        afresh(path, *changes)
    with pytest.raises(
        TraceError, match=r"failed: out of memory.*; run the scenario again"
    ) as told:
        simfl.whatif(path, UP)
    assert "resume" not in str(told.value)


def test_the_forecast_of_what_is_missing_is_of_its_own_level(tmp_path: Path) -> None:
    base = simfl.run(simfl.load(PRUNEFL, ["protocol.rounds=2"]), out=tmp_path / "run.h5", **ALONE)
    # pruned at the server only: all of it follows from counts
    one_shot = "learning.algorithm={name: prunefl, initial: random, level: 3}"
    changes = [one_shot, "protocol.rounds=2"]
    fresh = simfl.run(simfl.load(PRUNEFL, changes), out=tmp_path / "fresh.h5", **ALONE)
    [row] = simfl.whatif(base, one_shot).to_dict("records")
    summary = summarise(fresh)
    assert row["anew"] == 2 * 4
    assert (row["time_s"], row["up_bytes"]) == (summary.time_s, summary.up_bytes)
