"""The command line as a person meets it."""

import gc
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
import typer
from rich.console import Console

import simfl
from simfl import resources
from simfl.cli import app, main
from simfl.memo import Disk
from simfl.points import show_points
from simfl.record.schema import COLUMNS
from simfl.recording import Progress
from simfl.simulation import Listeners

SCENARIO = Path(__file__).parent.parent / "scenarios" / "pi_lenet.yaml"
SMOKE = "smoke/prunefl_federated"


@dataclass
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command line as the entry point does, in this process."""

    def run(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["simfl", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capfd.readouterr()
        return Done(left.value.code or 0, captured.out, captured.err)  # type: ignore[arg-type]

    return run


def refused(done: Done) -> str:
    """The one line of an error; nothing else, no traceback, exit code 2."""
    assert done.returncode == 2, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


# a change to pi_lenet.yaml, the line it is on, and words of the message
WRONG = {
    "typo in a key": ("    steps: 5", "    stepz: 5", "stepz: unknown key; did you mean 'steps'?"),
    "unknown model": ("lenet_300_100", "lenet_300_10", "did you mean 'lenet_300_100'?"),
    "missing unit": ("450 ms", "450", "exchange_overhead: 450 has no unit"),
    "negative rate": (
        "exchange_overhead: 450 ms",
        "rate: -5 Mbit/s",
        "rate: '-5 Mbit/s' is out of range; give a rate above 0",
    ),
    "zero clients": ("pi3, count: 5", "pi3, count: 0", "count: 0 is out of range"),
    "level 31": ("level: 15 ", "level: 31 ", "level: 31 is out of range; give a value at most 30"),
    "unknown device": ("model: pi4", "model: pi5", "unknown device 'pi5'; did you mean 'pi4'?"),
    "large cohort": ("rounds: 8000", "rounds: 8, cohort: 50", "cohort: 50 of 10 clients"),
    "wrong number of rates": ("[0.2, 0.2, 0.1]", "[0.2, 0.1]", "rates: 2 given for the 3 layers"),
    "not YAML": ("platform:", "platform: [", "not YAML"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_scenario_is_told_in_one_line_with_its_place(
    call: Call, mistake: str, tmp_path: Path
) -> None:
    old, new, words = WRONG[mistake]
    text = SCENARIO.read_text()
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(old, new, 1))
    line = refused(call("run", path, "--out", tmp_path / "out" / "run.h5", "--quiet"))
    assert words in line
    number = text[: text.index(old)].count("\n") + 1
    # a bracket that is never closed shows only further down
    assert line.startswith(f"error: {path}:" + (f"{number}: " if mistake != "not YAML" else ""))
    assert not (tmp_path / "out").exists()


def test_a_missing_data_folder_is_not_papered_over_by_the_fallback(
    call: Call, tmp_path: Path
) -> None:
    line = refused(call("run", "pi_lenet", "--data-dir", tmp_path / "no", "--out", tmp_path / "x"))
    assert "--data-dir: no folder" in line


@pytest.mark.data
def test_a_truncated_idx_file_is_named(call: Call, mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (mnist / "MNIST" / "raw").iterdir():
        (raw / path.name).write_bytes(path.read_bytes()[:50_000])
    line = refused(call("run", "pi_lenet", "--data-dir", tmp_path, "--out", tmp_path / "run.h5"))
    assert "train-images-idx3-ubyte: not a whole IDX file; fetch it anew" in line
    assert not (tmp_path / "run.h5").exists()


def test_an_unwritable_output_is_refused_before_anything_is_trained(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = call("run", SMOKE, "--quiet", "--out", tmp_path / "file" / "run.h5")
    assert "cannot write the trace" in refused(done)


def test_a_file_that_is_no_trace_is_never_written_over(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "precious.h5"
    path.write_text("precious")
    assert "stands already" in refused(call("run", SMOKE, "--out", path))
    assert path.read_text() == "precious"


def test_a_batch_that_batch_normalisation_cannot_take(call: Call, tmp_path: Path) -> None:
    # digits: 1,438 samples for 5 peers, 287 or 288 each; at 28 x 28 the last blocks see one pixel
    changes = ["learning.model.name=resnet18", "learning.model.stem=torchvision"]
    words = [*changes, "learning.local.batch_size=7", "--out", tmp_path / "run.h5"]
    line = refused(call("run", "smoke/ring", *words))
    assert "learning.local.batch_size: a batch of 1 is left of some client's samples" in line
    assert not (tmp_path / "run.h5").exists()


def test_a_run_among_peers_is_planned_and_told_without_a_server(call: Call, tmp_path: Path) -> None:
    plan = call("run", "smoke/ring", "--dry-run").stdout
    assert "1 x pi3, 4 x pi4; peers in a ring" in plan
    assert "bytes per message, peer to peer" in plan
    path = tmp_path / "run.h5"
    told = call("run", "smoke/ring", "protocol.rounds=1", "--out", path).stdout
    for words in (
        "accuracy, last (best), mean of the peers",
        "computing, the slowest peer",
        "bytes peer to peer",
        "the last message 177,704 B",
    ):
        assert words in told
    for words in ("server", "client", "bytes down"):
        assert words not in told
    # one round: the plan and the run agree
    trace = simfl.Trace(path)
    first = trace.activities[trace.activities["round"] == 1]["end_s"].max()
    assert f"one round {first:.3f} s" in " ".join(plan.split())


def test_dry_run_trains_nothing_and_writes_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("run", "pi_lenet", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "266,610" in done.stdout
    assert "77,580" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_run_says_aloud_that_digits_stand_in_and_the_trace_records_it(
    call: Call, tmp_path: Path
) -> None:
    out = tmp_path / "run.h5"
    changes = ["protocol.rounds=2", "learning.algorithm.initial=random"]
    done = call("run", "pi_lenet", *changes, "--seed", "5", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "digits (1,438 + 359 samples) stands in for mnist" in done.stdout
    trace = simfl.Trace(out)
    assert trace.dataset["stands_in"] is True
    assert trace.dataset["name"] == "digits"
    assert trace.attributes["seed"] == 5
    assert "2 rounds" in call("report", out).stdout


def test_out_of_memory_names_device_model_and_the_level_that_fits(
    call: Call, tmp_path: Path
) -> None:
    out = tmp_path / "run.h5"
    line = refused(call("run", "pi_lenet", "learning.algorithm.level=0", "--quiet", "--out", out))
    for words in ("out of memory", "'pi3'", "lenet_300_100", "fits from level 1"):
        assert words in line
    assert simfl.Trace(out).status.startswith("failed: out of memory")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("models", "lenet_300_100"),
        ("algorithms", "prunefl"),
        ("devices", "g3s_xlarge"),
        ("codecs", "coo"),
        ("datasets", "fashion_mnist"),
        ("partitions", "iid"),
        ("objectives", "proximal"),
        ("topologies", "star"),
        ("protocols", "synchronous"),
        ("scenarios", "pi_lenet"),
    ],
)
def test_list_names_what_a_scenario_can_name(call: Call, kind: str, name: str) -> None:
    assert name in call("list", kind).stdout


def test_a_plan_shows_what_the_clients_hold(call: Call) -> None:
    def held(*changes: str) -> list[str]:
        data = ("learning.dataset.name=digits", "learning.algorithm={name: fedavg}")
        model = "learning.model={name: simple_cnn}"
        lines = call("run", "pi_lenet", "--dry-run", model, *data, *changes).stdout.splitlines()
        start = lines.index("what the clients hold")
        return [" ".join(line.split()) for line in lines[start + 1 :]]

    shards = "learning.dataset.partition=pathological"
    rows = held(shards)
    assert rows[0] == "client samples classes class:samples"
    assert rows[1] == "0 143 3 0:72 8:4 9:67"
    assert len(rows) == 11
    rows = held(shards, "platform.devices.pi3.count=15")
    assert rows[10].startswith("9 72 ")
    assert rows[11].startswith("20 clients, least / median / most: samples 71 / 72 / 72; classes ")
    rows = held("learning.dataset.partition=transformed_copies")
    assert rows[0] == "client of samples classes class:samples"
    assert any(row.startswith("1 hflip 144 10 0:") for row in rows)


def test_devices_are_listed_with_what_they_can_do_and_how_that_is_known(call: Call) -> None:
    lines = call("list", "devices").stdout.splitlines()
    found = {line.split()[0]: " ".join(line.split()) for line in lines if line.strip()}
    assert found["device"].startswith("device training inference RAM idle busy evidence")
    assert found["pi4_ncnn_4t"].startswith("pi4_ncnn_4t - 53.85 Gflop/s 2 GiB 3 W 6 W derived")
    assert found["pixel3"].startswith(
        "pixel3 2.89 Gflop/s 93.31 Gflop/s 4 GB - 3.9 W derived, rough"
    )
    assert found["phone_big_flash"].startswith("phone_big_flash 4 models - 8 GB - - measured")
    assert found["g3s_xlarge"].startswith("g3s_xlarge 4.825 Tflop/s as training 30.5 GiB")
    assert found["phones_propius"].startswith("phones_propius any model any model each its own")
    assert "Raspberry Pi 4 Model B" in found["pi4_prunefl"]


def test_a_device_is_shown_with_every_figure_and_its_source(call: Call) -> None:
    shown = " ".join(call("show", "pi4").stdout.split())
    assert shown.startswith("pi4 Raspberry Pi 4 Model B, 4 x Cortex-A72 1.5 GHz PyTorch 1.1 (2019)")
    assert "cost.train.coo_weight 45.636 ns derived 0.05 Jiang et al. 2019, Fig. 12" in shown
    assert "sparse pays, linear layers as coo, train: below a density of 13%" in shown
    table = " ".join(call("show", "phone_mid_flash").stdout.split())
    assert "cost.conv2_leaf, train, dense, batch 10 588 ms measured" in table
    journal = call("show", "pi4_prunefl").stdout
    assert "sparse pays, vgg11_small_fc: always" in journal
    assert "cannot: lenet_300_100 held dense; the system dies" in call("show", "pi3").stdout
    assert "note: FedScale's rule" in call("show", "phones_fedscale").stdout
    assert refused(call("show", "pi44")) == "error: unknown device 'pi44'; did you mean 'pi4'?"


def test_rough_devices_are_told_of_before_anything_runs(call: Call) -> None:
    change = "platform.devices.pi4.model=pixel3"
    network = "platform.network.rate=20 Mbit/s"
    told = "device: pixel3: nothing behind its times was measured on it (derived); one time in"
    assert told in call("validate", "pi_lenet", change, network).stdout
    dataset = "learning.dataset.name=digits"
    fedavg = "learning.algorithm={name: fedavg}"
    pis = "platform.devices.pi3.model=pi4"
    planned = call("run", "pi_lenet", "--dry-run", change, network, dataset, fedavg, pis).stdout
    assert told in planned
    assert planned.count("device: ") == 1


def test_devices_that_can_hold_a_model(call: Call) -> None:
    fits = ("list", "devices", "--fits", "resnet18", "--input", "3x32x32")
    rows = {r.split()[0]: r.split()[1] for r in call(*fits, "--batch", "128").stdout.splitlines()}
    assert (rows["pi3"], rows["pi4"]) == ("no", "yes")
    dense = ("list", "devices", "--fits", "lenet_300_100", "--dataset", "digits")
    assert "was seen to fail" in call(*dense).stdout
    assert "was seen to fail" not in call(*dense, "--storage", "coo", "--density", "0.1").stdout
    assert "give --dataset NAME, or --input" in refused(call(*fits[:4]))
    assert "a question to devices" in refused(call("list", "models", "--fits", "lenet5"))
    assert "give --storage too" in refused(call(*fits, "--density", "0.1"))
    assert "e.g. 3x32x32" in refused(call(*fits[:4], "--input", "3x\u00b2x4"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--export", "."), "is a folder; give the name of a file"),
        (("--out", "."), "is a folder; give the name of a file"),
        (("--out", "none/b.yaml"), "there is no folder none; make it"),
        (("--like", "nosuch"), "unknown device 'nosuch'"),
        (("--like", "phones_fedscale"), "is a population, not one device"),
        (("--check", "pi4", "raises.py:Net"), "raises.py:Net: ZeroDivisionError: division by zero"),
    ],
)
def test_a_profile_that_cannot_end_well_is_refused_before_it_is_measured(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("simfl.profile.session.measure_here", measured)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raises.py").write_text("1 / 0\n")
    assert told in refused(call("profile", *words))


def test_memory_stands_in_the_plan_and_ends_a_run(call: Call, tmp_path: Path) -> None:
    small = "platform.devices.pi4.model=pi3"
    fast = ("smoke/fedavg_access_links", "learning.model={name: resnet18}", small)
    assert "memory to train on pi3" in call("run", *fast, "--dry-run").stdout
    large = (*fast, "stop={}", "learning.local.batch_size=200", "--out", tmp_path / "run.h5")
    line = refused(call("run", *large, "--quiet"))
    assert "out of memory: device 'pi3' cannot train resnet18 on batches of 200" in line
    assert "take another device, batch size or model" in line
    assert simfl.Trace(tmp_path / "run.h5").status.startswith("failed: out of memory")
    assert refused(call("run", *large[:-2], "--dry-run")) == line


def test_the_report_tells_energy_and_what_of_it_is_unknown(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run.h5"
    told = call("run", SMOKE, "protocol.rounds=2", "--out", out).stdout
    assert "energy of the clients" in told
    assert "J, and radios unknown" in told
    assert "energy, each" in told


def test_schema_prints_the_committed_schema(call: Call) -> None:
    committed = SCENARIO.parent / "scenario.schema.json"
    assert json.loads(call("schema").stdout) == json.loads(committed.read_text())


@pytest.mark.parametrize(
    "name", ["pi_lenet", "dfl_ring", SMOKE, "smoke/fedavg_access_links", "smoke/ring"]
)
def test_every_packaged_scenario_is_valid_and_tells_editors_its_schema(
    call: Call, name: str
) -> None:
    assert call("validate", name).stdout == f"{name}: valid\n"
    first = (SCENARIO.parent / f"{name}.yaml").read_text().splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (SCENARIO.parent / f"{name}.yaml").parent.joinpath(schema).resolve().is_file()


# studies -------------------------------------------------------------------------------------

FEDAVG = "smoke/fedavg_access_links"
BRIEF = [
    "learning.model={name: simple_cnn}",
    "learning.local={batch_size: 9, learning_rate: 0.1, steps: 1}",
]
UP = "platform.network.up=1 Mbit/s,5 Mbit/s"
ROUNDS = "protocol.rounds=5,6"


def tables(path: Path) -> dict[str, bytes]:
    trace = simfl.Trace(path)
    return {table: trace.raw(table).tobytes() for table in COLUMNS}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with its store."""
    out = tmp_path_factory.mktemp("recorded") / "run.h5"
    simfl.run(simfl.load(FEDAVG, BRIEF), out=out, executor="inline")
    return out


@pytest.fixture
def own(recorded: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own."""
    return Path(shutil.copytree(recorded.parent, tmp_path / "own")) / "run.h5"


def test_inference_compares_what_a_run_left_with_what_it_began_with(
    call: Call, recorded: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.csv"
    some = ("--device", "pi4", "--device", "pi4_prunefl", "--batch", "4", "--csv", figures)
    done = call("inference", recorded, *some)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("original: simple_cnn, 44,426 parameters")
    assert lines[2] == "a forward pass of 4 samples at once"
    rows = {line.split()[0]: line.split() for line in lines[5:]}
    # nothing is pruned by FedAvg: the same time twice
    assert rows["pi4"][1:6] == [*rows["pi4"][3:5], *rows["pi4"][3:5], "1.00"]
    assert " ".join(rows["pi4_prunefl"]).endswith("- has figures for training only")
    table = pd.read_csv(figures)
    assert list(table["which"]) == ["original", "network"]
    assert set(table["batch"]) == {4}
    assert (table["throughput_per_s"] * table["latency_s"]).round(9).eq(4).all()


def test_inference_of_a_model_is_told_for_every_device(call: Call, tmp_path: Path) -> None:
    done = call("inference", "vgg11_small_fc", "--input", "3x32x32")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0] for line in done.stdout.splitlines()[3:]}
    assert rows == set(resources.names("device_models"))
    one = ("--device", "i7_4790")
    compared = call("inference", "lenet5", "--against", "conv_femnist", *one).stdout
    assert "original: conv_femnist, " in compared
    net = tmp_path / "net.py"
    net.write_text("from torch import nn\nnet = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))\n")
    assert "1,570 parameters" in call("inference", f"{net}:net", *one).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenet6"], "lenet6: no such model, and no trace; did you mean 'lenet5'?"),
        (["lenet5", "--device", "pi44"], "unknown device 'pi44'; did you mean 'pi4'?"),
        (["none.h5"], "none.h5: no such file; give the HDF5 file of a run"),
        (["none.py:net"], "no such Python file"),
        (["lenet5", "--input", "28"], "give channels x height x width"),
        (["lenet5", "--csv", "no/such/figures.csv"], "there is no folder no/such"),
        (["lenet5", "--device", "phones_propius"], "is a population"),
    ],
)
def test_inference_refuses_in_one_line(call: Call, words: list[str], message: str) -> None:
    assert message in refused(call("inference", *words))


def test_whatif_tells_the_points_and_what_is_not_recorded(call: Call, own: Path) -> None:
    done = call("whatif", own, UP, ROUNDS, "seed=4,9")
    assert done.returncode == 0, done.stderr
    # the points as they end, on standard error
    assert "platform.network.up=1 Mbit/s, protocol.rounds=6, seed=9: " in done.stderr
    assert len(done.stderr.splitlines()) == 8
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 8 + 1
    # narrow or not, no figure is cut
    assert "\u2026" not in done.stdout
    heads = "platform.network.up protocol.rounds seed simulated to target rounds accuracy down up"
    assert " ".join(lines[0].split()) == f"{heads} energy turns not recorded ended by"
    assert "6 of 8 points compute something else: 72 turns are not recorded" in lines[-1]
    assert "first train Turn(client=" in lines[-1]
    assert lines[-1].endswith("their accuracies are unknown; compute them with --train")
    trained = call("whatif", own, "protocol.rounds=5,6", "--train", "--executor", "inline")
    assert trained.stdout.splitlines()[-1] == "  3 turns were not recorded, and were trained"
    # no target, so no time to it; the accuracies are known
    assert all(line.count(" - ") == 1 for line in trained.stdout.splitlines()[1:-1])
    quiet = call("whatif", own, UP, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_whatif_writes_a_table_and_traces(call: Call, own: Path, tmp_path: Path) -> None:
    table, traces = tmp_path / "new" / "points.csv", tmp_path / "traces"
    changes = [UP, "codec={name: coo},{name: dense}", "protocol.cohort=3,null"]
    done = call("whatif", own, *changes, "--table", table, "--traces", traces, "--quiet")
    assert done.returncode == 0, done.stderr
    read = pd.read_csv(table, keep_default_na=False)
    found = simfl.whatif(own, *changes)
    assert list(read.columns) == list(found.columns)
    for column in ("time_s", "rounds", "down_bytes", "up_bytes", "turns", "anew", "status"):
        assert read[column].tolist() == found[column].tolist()
    assert read["codec"].tolist() == ["{name: coo}"] * 2 + ["{name: dense}"] * 2 + (
        ["{name: coo}"] * 2 + ["{name: dense}"] * 2
    )
    paths = sorted(traces.iterdir())
    assert [path.name for path in paths] == [f"run-{number:04d}.h5" for number in range(8)]
    assert [simfl.Trace(path).activities["end_s"].iloc[-1] for path in paths] == (
        found["time_s"].tolist()
    )


def test_a_trace_is_written_in_forms_that_other_tools_open(
    call: Call, own: Path, tmp_path: Path
) -> None:
    timeline, tables = tmp_path / "new" / "out.json.gz", tmp_path / "tables"
    done = call("trace", own, "--perfetto", timeline, "--csv", tables)
    assert done.returncode == 0, done.stderr
    found = json.loads(gzip.decompress(timeline.read_bytes()))["traceEvents"]
    assert done.stdout.splitlines() == [
        f"{timeline}: {len(found):,} events; open it at ui.perfetto.dev",
        f"{tables}: {len(COLUMNS)} tables as CSV",
    ]
    trace = simfl.Trace(own)
    sent = [e["args"]["nbytes"] for e in found if e.get("cat") == "send"]
    assert sum(sent) == trace.transfers["nbytes"].sum() > 0
    assert len(pd.read_csv(tables / "activities.csv")) == len(trace.activities)
    quiet = call("trace", own, "--csv", tables, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_an_export_that_cannot_be_is_told_before_anything_is_written(
    call: Call, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(call("trace", own)).endswith(
        "give --perfetto, --csv, --parquet or --tensorboard"
    )
    csv = ("--csv", tmp_path / "csv")
    line = refused(call("trace", own, "--perfetto", tmp_path / "out.gz", *csv))
    assert line.endswith("out.gz: give a name that ends in .json or .json.gz")
    monkeypatch.setattr("simfl.commands.trace.find_spec", lambda _: None)
    line = refused(call("trace", own, "--parquet", tmp_path / "parquet", *csv))
    assert line.endswith("needs pyarrow; pip install 'simfl[parquet]', or give --csv")
    assert not (tmp_path / "csv").exists()


@pytest.mark.parametrize("command", ["whatif", "sweep"])
def test_a_table_that_cannot_be_written_is_told_before_anything_is_computed(
    call: Call, own: Path, tmp_path: Path, command: str
) -> None:
    words = [own, UP] if command == "whatif" else [FEDAVG, UP, "--out", tmp_path / "out"]
    for name in ("points.xlsx", "points"):
        line = refused(call(command, *words, "--table", tmp_path / name))
        assert line.endswith(f"{name}: give a name that ends in .csv or .parquet")
    if find_spec("pyarrow") is None:
        line = refused(call(command, *words, "--table", tmp_path / "points.parquet"))
        assert line.endswith("needs pyarrow; pip install 'simfl[parquet]', or give a .csv")
    assert not (tmp_path / "out").exists()


def test_values_and_failures_in_a_table_of_points() -> None:
    points = pd.DataFrame(
        {
            "protocol.cohort": pd.Series([3, None], dtype=object),
            "time_s": [12.34, float("nan")],
            "target_s": [float("inf"), float("nan")],
            "rounds": [5.0, float("nan")],
            "accuracy": [0.5, float("nan")],
            "status": ["complete: 5 rounds", "failed: [out] of memory"],
        }
    )
    for width in (20, 300):
        console = Console(file=StringIO(), width=width, soft_wrap=True)
        show_points(console, points, trained=False)
        one, two = console.file.getvalue().splitlines()[1:]  # type: ignore[attr-defined]
        assert one.split() == ["3", "12.3", "s", "never", "5", "0.5000", "5", "rounds"]
        assert two.split() == ["null", "-", "-", "-", "-", "failed:", "[out]", "of", "memory"]


def test_points_that_failed_do_not_count_as_computing_something_else() -> None:
    points = pd.DataFrame(
        {
            "status": ["failed: out of memory", "complete: 5 rounds", "complete: 5 rounds"],
            "anew": [float("nan"), 0.0, 3.0],
            "first_anew": [float("nan"), "", "train Turn(client=1, index=3)"],
        }
    )
    for shown, told in ((points, ["1 of 3 points compute something else"]), (points[:2], [])):
        console = Console(file=StringIO(), width=300)
        show_points(console, shown, trained=False)
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        assert [line.partition(":")[0].strip() for line in lines[len(shown) + 1 :]] == told
        assert "nan" not in " ".join(lines[len(shown) + 1 :])


def test_sweep_tells_and_writes_its_points(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [FEDAVG, *BRIEF, "platform.devices.pi4.model=pi4,pi5", "--out", out]
    done = call("sweep", *words, "--executor", "inline")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert "platform.devices.pi4.model=pi5: failed: " in told[1]
    error = f"error: 1 of 2 points failed; see {out}/failed.csv; the others stand in {out}"
    assert told[2] == "failed:"
    assert "platform.devices.pi4.model=pi5: " in told[3]
    assert told[3].endswith("unknown device 'pi5'; did you mean 'pi4'?")
    assert told[4:] == [error]
    table, failed = pd.read_csv(out / "sweep.csv"), pd.read_csv(out / "failed.csv")
    assert table["platform.devices.pi4.model"].tolist() == ["pi4"]
    assert failed["platform.devices.pi4.model"].tolist() == ["pi5"]
    assert table["status"][0] == "complete: 5 rounds"
    assert list(failed.columns)[2:] == ["platform.devices.pi4.model", "status", "trace"]
    assert "unknown device 'pi5'; did you mean 'pi4'?" in failed["status"][0]
    assert simfl.Trace(table["trace"][0]).complete
    assert "complete" not in done.stdout
    assert "pi5" not in done.stdout
    named = call("sweep", *words[:-2], "--out", out, "--table", tmp_path / "t.csv", "--quiet")
    assert named.stderr.splitlines() == [error]
    assert pd.read_csv(tmp_path / "t.csv").equals(table)
    # a list of failures is of the last sweep
    words[words.index("platform.devices.pi4.model=pi4,pi5")] = "platform.devices.pi4.model=pi4"
    assert call("sweep", *words, "--quiet").returncode == 0
    assert not (out / "failed.csv").exists()


@pytest.mark.parametrize(
    ("words", "ray"),
    [
        ([FEDAVG, "seed=1"], False),
        (["--ray", FEDAVG, "seed=1"], True),
        ([FEDAVG, "--ray", "seed=1"], True),
        ([FEDAVG, "seed=1", "--ray"], True),
        ([FEDAVG, "--ray", "--quiet", "seed=1"], True),
        (["--ray", "auto", FEDAVG, "seed=1"], "auto"),
        ([FEDAVG, "--ray", "10.0.0.1:6379", "seed=1"], "10.0.0.1:6379"),
        ([FEDAVG, "seed=1", "--ray=ray://head:10001"], "ray://head:10001"),
    ],
)
def test_ray_with_and_without_an_address(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], ray: bool | str
) -> None:
    given: list[Any] = []

    def sweep(scenario: str, *changes: str, **names: Any) -> pd.DataFrame:
        given.append((scenario, changes, names["ray"]))
        return pd.DataFrame({"time_s": [1.0], "status": ["complete: x"], "trace": ["y"]})

    monkeypatch.setattr("simfl.api.sweep", sweep)
    call("sweep", *words, "--out", tmp_path)
    assert given == [(FEDAVG, ("seed=1",), ray)]


@pytest.mark.skipif(find_spec("optuna") is None, reason="Optuna is not installed")
def test_optimize_tells_the_best(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [FEDAVG, *BRIEF, "platform.network.up=1 Mbit/s..9 Mbit/s", "--out", out]
    words += ["--minimize", "time", "--trials", "3", "--executor", "inline"]
    done = call("optimize", *words)
    assert done.returncode == 0
    table = pd.read_csv(out / "optimize.csv")
    [best] = table.index[table["best"]]
    assert done.stdout.startswith(f"best of 3 trials, number {best + 1}: {table['trace'][best]}\n")
    assert table["platform.network.up"][best] in done.stdout
    assert [line[:2] for line in done.stderr.splitlines()] == ["1.", "2.", "3."]
    never = call("optimize", *words[:-6], "--at-most", "time=1 ms", "--minimize", "time", "-q",
                 "--trials", "1", "--out", tmp_path / "b")  # fmt: skip
    assert never.returncode == 2
    assert "none of 1 trials gets there and holds all bounds" in never.stderr


# traces and stores ---------------------------------------------------------------------------


def old_version(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 1


# what becomes of a trace, and words of the message
SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "no such file; give the HDF5 file of a run"),
    "no trace": (lambda path: path.write_text("text"), "not a whole trace"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole trace"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:9000]), "not a whole trace"),
    "cut early": (lambda path: path.write_bytes(path.read_bytes()[:40]), "not a whole trace"),
    "version 1": (old_version, "not a trace of this version of simfl; run the scenario again"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "not a whole trace"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_trace_that_cannot_be_read_is_one_line(call: Call, own: Path, fault: str) -> None:
    spoil, told = SPOILT[fault]
    spoil(own)
    for words in (["whatif", own, UP], ["resume", own], ["report", own]):
        line = refused(call(*words))
        assert line.startswith(f"error: {own}: {told}")


def test_an_unfinished_trace_is_not_re_timed(call: Call, recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"

    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        simfl.run(simfl.load(FEDAVG, BRIEF), out=path, listeners=Listeners(round=stop))
    gc.collect()  # and with the run, its lock
    line = refused(call("whatif", path, UP))
    assert line.endswith(f"an unfinished run (interrupted); simfl resume {path} first")
    # without the model that was kept it is computed anew
    assert call("store", "gc", tmp_path / ".simfl", "--limit", "0 B").returncode == 0
    assert call("resume", path, "--quiet").returncode == 0
    assert tables(path) == tables(recorded)


def test_a_run_repeats_itself_and_resume_adds_what_is_missing(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    done = call("run", FEDAVG, *BRIEF, "repeats=3", "--out", path, "--executor", "inline")
    assert "in 3 possible worlds" in done.stdout
    whole = tables(path)
    with h5py.File(path, "r+") as file:
        file["repeats"].resize((1,))
    assert f"2 repeats are missing; simfl resume {path}" in call("report", path).stdout
    resumed = call("resume", path)
    assert "complete already" not in resumed.stdout
    assert tables(path) == whole
    assert "complete already" in call("resume", path).stdout
    line = refused(call("whatif", path, "repeats=2"))
    assert line.startswith("error: repeats: a what-if plays each point once")


def test_a_run_says_what_ran_it_and_what_was_recorded(call: Call, tmp_path: Path) -> None:
    def told(*words: str) -> str:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        return call("run", FEDAVG, *BRIEF, "--out", out, *words).stdout

    assert "turns trained: 15   executor: inline\n" in told("--executor", "inline")
    assert "turns trained: 0; 15 more were recorded already\n" in told()
    assert "turns trained: 15   executor: " in told("--no-store")


def test_store_info_and_gc(call: Call, own: Path, tmp_path: Path) -> None:
    store, whole = own.parent / ".simfl", tmp_path / "whole.h5"
    longer = [*BRIEF, "protocol.rounds=6"]
    simfl.run(simfl.load(FEDAVG, longer), out=whole, store=False, executor="inline")
    said = " ".join(call("store", "info", store).stdout.split())
    assert "fedavg simple_cnn digits seed 4" in said
    kept = len(list(store.glob("values/*/*.value")))
    assert f"values kept {kept}, " in said
    assert "of 2.00 GiB" in said
    done = call("store", "gc", store, "--limit", "0 B")
    assert done.returncode == 0, done.stderr
    assert "freed; counts and scores are kept" in done.stdout
    assert list(store.glob("values/*/*.value")) == []
    assert "values kept 0, 0 B of 0 B" in " ".join(call("store", "info", store).stdout.split())
    # what was kept is computed again
    words = ["--executor", "inline", "--quiet", "--traces", tmp_path / "traces"]
    again = call("whatif", own, "protocol.rounds=6", "--train", *words)
    assert again.returncode == 0, again.stderr
    assert tables(tmp_path / "traces" / "run-0000.h5") == tables(whole)
    assert call("run", FEDAVG, *longer, "--out", own.parent / "again.h5").returncode == 0
    assert tables(own.parent / "again.h5") == tables(whole)
    disk = Disk(store)
    assert disk.info().values == 0
    disk.close()
    assert call("store", "gc", store, "--limit", "1 GB").returncode == 0
    assert "of 953.67 MiB" in call("store", "info", store).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["info"], "runs/.simfl: no store; give its folder, .simfl beside the traces"),
        (["gc"], "runs/.simfl: no store; give its folder, .simfl beside the traces"),
        (["gc", "elsewhere", "--limit", "5"], "--limit 5: '5' has no unit"),
        (["gc", "elsewhere", "--limit", "5 s"], "--limit 5 s: "),
        (["gc", "elsewhere", "--limit", "-5 MB"], "--limit -5 MB: give 0 B or more"),
        (["gc", "elsewhere", "--limit", "nan MB"], "--limit nan MB: "),
        (["gc", "elsewhere", "--limit", "inf MB"], "--limit inf MB: "),
    ],
)
def test_mistakes_about_stores_are_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMFL_STORE", raising=False)
    assert refused(call("store", *words)).startswith(f"error: {told}")
    assert list(tmp_path.iterdir()) == []


def test_every_command_and_option_has_a_help(call: Call) -> None:
    def commands(group: Any, *path: str) -> list[tuple[tuple[str, ...], Any]]:
        found = [(path, group)]
        for name, command in getattr(group, "commands", {}).items():
            found += commands(command, *path, name)
        return found

    for path, command in commands(typer.main.get_command(app)):
        done = call(*path, "--help")
        assert done.returncode == 0, done.stderr
        assert command.help
        said = "".join(done.stdout.split())
        assert "".join(command.help.split()) in said
        for option in command.params:
            assert option.help, (path, option.name)
            assert "".join(option.help.split()) in said, (path, option.name)


@pytest.mark.slow
def test_it_runs_as_a_module_and_exits_with_2(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "simfl", "report", str(tmp_path / "no.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_report_is_a_page_and_text(call: Call, tmp_path: Path) -> None:
    trace = tmp_path / "run.h5"
    call(
        "run", "smoke/fedavg_access_links", "protocol.rounds=2", "--out", trace, "--no-store", "-q"
    )
    told = call("report", trace, "--target", "0.3").stdout
    assert "2 rounds" in told
    assert f"written: {trace.with_suffix('.html')}" in told
    page = trace.with_suffix(".html").read_text(encoding="utf-8")
    assert "asked for with --target" in page
    trace.with_suffix(".html").unlink()
    assert "2 rounds" in call("report", trace, "--text").stdout
    assert not trace.with_suffix(".html").exists()
    named = tmp_path / "named.html"
    assert call("report", trace, "--out", named, "-q").stdout == ""
    assert named.exists()
    named.write_text("mine")
    assert "is no page of simfl" in refused(call("report", trace, "--out", named))
