"""The command line as a person meets it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import simfl
from simfl.cli import main

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
        ("topologies", "star"),
        ("protocols", "synchronous"),
        ("scenarios", "pi_lenet"),
    ],
)
def test_list_names_what_a_scenario_can_name(call: Call, kind: str, name: str) -> None:
    assert name in call("list", kind).stdout


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


@pytest.mark.slow
def test_it_runs_as_a_module_and_exits_with_2(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "simfl", "report", str(tmp_path / "no.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
