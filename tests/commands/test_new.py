from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import simfl
from simfl.cli import app
from simfl.commands import new
from simfl.errors import SimflError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=typed)


def test_three_words_and_it_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMFL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = call("new", "demo")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "demo.yaml: fedavg on mnist with lenet_300_100; 10 x pi4",
        "run it: simfl run demo.yaml",
    ]
    trace = simfl.run(simfl.load("demo.yaml", ["protocol.rounds=2"]), executor="inline")
    assert trace.complete
    assert trace.dataset["stands_in"]
    assert Path("runs/demo.h5").is_file()


def test_four_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "at_a_terminal", lambda: True)
    # a wrong answer is asked again, ? lists, Enter is the default
    typed = "digits lenet6\ndigits lenet5\n?\nfedprox\n4 pi3\n\n"
    done = call("new", "asked", typed=typed)
    assert done.exit_code == 0, done.output
    assert "unknown model 'lenet6'; did you mean 'lenet5'?" in done.output
    assert "FedProx: FedAvg whose turns stay near the model" in done.output
    assert "asked.yaml: fedprox on digits with lenet5; 4 x pi3" in done.output
    assert simfl.load("asked.yaml").platform.network.kind == "star"


def test_flags_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "at_a_terminal", lambda: True)
    flags = ("--learn", "digits", "--algorithm", "snip", "--devices", "2 pi4", "--network", "lte")
    assert "Enter" not in call("new", "flagged", *flags).output
    assert "asked" not in call("new", "silent", "--yes").output
    assert {path.name for path in Path().glob("*.yaml")} == {"flagged.yaml", "silent.yaml"}


def test_what_cannot_run_is_not_left_behind() -> None:
    done = call("new", "odd", "--devices", "5 pi_zero_2w_ncnn_4t")
    assert isinstance(done.exception, SimflError)
    assert "no figures for training" in str(done.exception)
    assert not Path("odd.yaml").exists()


def test_nothing_is_overwritten() -> None:
    Path("mine.yaml").write_text("mine")
    done = call("new", "mine")
    assert isinstance(done.exception, SimflError)
    assert Path("mine.yaml").read_text() == "mine"
