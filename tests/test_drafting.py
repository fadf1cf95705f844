import re
from pathlib import Path
from typing import Any

import pytest

from simfl import api
from simfl.answers import Draft, read_algorithm, read_devices, read_learnt, read_network
from simfl.assembly import check
from simfl.drafting import ROUNDS, render
from simfl.registry import ALGORITHMS, DATASETS, MODELS, NETWORKS
from simfl.scenario import Scenario, loads

OWN = [name for name in DATASETS.names() if DATASETS.get(name).needs_options]


def draft(
    learn: str = "digits", how: str = "fedavg", by: str = "3 pi4", over: str = "star"
) -> Draft:
    return Draft(
        name="demo",
        learnt=read_learnt(learn),
        algorithm=read_algorithm(how),
        groups=read_devices(by),
        network=read_network(over),
    )


def read(**answers: Any) -> Scenario:
    return loads(render(draft(**answers)))


def test_every_key_has_a_comment() -> None:
    for how in ("fedavg", "prunefl_adaptive", "flash"):
        before = ""
        for line in render(draft("celeba", how)).splitlines():
            assert len(line) <= 100, line
            assert not line or "#" in line or before.lstrip().startswith("#"), line
            before = line


def test_comments_are_those_of_the_options() -> None:
    text = render(draft("mnist", "prunefl"))
    assert re.search(
        r"server_samples: 200 +# training samples that the server holds \(Table 1\)", text
    )
    assert "has no default, this is an example" in text
    # what a docstring does not name is named
    assert "or chance; one of sample_based, initialization, random" in " ".join(
        text.replace("#", "").split()
    )


def test_what_is_answered_stands_there() -> None:
    found = read(learn="mnist lenet5", how="feddip", by="5 pi3, 2 pi4", over="lte")
    learning = found.learning
    assert (found.name, learning.dataset.name, learning.model.name) == ("demo", "mnist", "lenet5")
    assert learning.dataset.fallback == "digits"
    assert learning.algorithm.options.horizon == ROUNDS  # type: ignore[attr-defined]
    assert found.platform.clients == 7
    assert found.platform.network.written()["access"]["preset"] == "lte"
    assert found.record.path == "runs/demo.h5"


def test_peers_have_no_server() -> None:
    found = read(how="dfl_trim")
    assert not found.platform.has_server
    assert (found.protocol.name, found.topology.name) == ("neighborhood", "ring")


@pytest.mark.parametrize("name", [name for name in DATASETS.names() if name not in OWN])
def test_every_data_set_can_be_answered(name: str) -> None:
    found = read(learn=name).learning.dataset
    assert found.name == name
    assert found.fallback == (None if name == "digits" else "digits")


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_can_be_answered(name: str) -> None:
    assert read(learn=f"digits {name}").learning.model.name == name


@pytest.mark.parametrize("name", [name for name in NETWORKS.names() if name != "file"])
def test_every_network_can_be_answered(name: str) -> None:
    assert check(read(over=name)).wiring is not None


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_every_algorithm_can_be_answered_and_would_run(name: str) -> None:
    parts, _ = api.plan(read(how=name))
    assert parts.algorithm.options == parts.scenario.learning.algorithm.options


def test_a_draft_of_ones_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    found = read(learn="./photos").learning
    assert found.dataset.options.folder == "photos"  # type: ignore[attr-defined]
    assert (found.dataset.fallback, found.model.name) == (None, "simple_cnn")
