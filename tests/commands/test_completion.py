import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from simfl.commands import completion


def test_scenarios_by_name_and_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pile.yaml").touch()
    (tmp_path / "pi.txt").touch()
    (tmp_path / "pits").mkdir()
    (tmp_path / "pits" / "a.yml").touch()
    assert completion.scenarios("pi") == ["pi_lenet", "pi_lenet_wifi", "pile.yaml", "pits/"]
    assert completion.scenarios("pits/") == ["pits/a.yml"]


def test_keys_of_the_scenario_on_the_line() -> None:
    context = SimpleNamespace(params={"scenario": "pi_lenet"})
    assert completion.keys(context, "protocol.") == ["protocol.name=", "protocol.rounds="]
    assert "platform.devices.pi3.count=" in completion.keys(context, "platform")
    assert completion.keys(SimpleNamespace(params={"scenario": "nowhere"}), "") == []
    assert completion.keys(SimpleNamespace(params={}), "") == []


def test_devices_and_plug_ins() -> None:
    assert completion.devices("phones_") == ["phones_fedscale", "phones_propius"]
    assert completion.models("lenet") == ["lenet5", "lenet_300_100"]
    assert completion.algorithms("feddi") == ["feddip"]


def test_bash_asks_and_is_answered() -> None:
    asked = {"COMP_WORDS": "simfl run smoke/r", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from simfl.cli import app; app(prog_name='simfl')"],
        env=os.environ | asked | {"_SIMFL_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["smoke/ring"]
