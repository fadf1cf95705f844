"""Runs and counts behind the early PruneFL paper's figures (analysis/prunefl_*.py)."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

import simfl
from simfl.learning.state import ModelState
from simfl.pruning.masks import over
from simfl.tensors import Layout, NamedTensors

ANALYSIS = Path(__file__).parents[2] / "analysis"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ANALYSIS))
    return importlib.import_module("prunefl_experiments")


def test_a_name_is_of_one_run(study: ModuleType) -> None:
    runs = {r for panels in study.FIGURES.values() for p in panels for r in p.runs.values()}
    assert len({run.name for run in runs}) == len(runs)


def test_runs_are_as_table_1_has_them(study: ModuleType) -> None:
    for setting, rate, clients, model in (
        ("lenet", 0.5, 10, "lenet_300_100"),
        ("fashion", 0.25, 5, "conv_fashionmnist"),
        ("femnist", 0.25, 5, "conv_femnist"),
        ("sampled", 0.031, 101, "conv_femnist"),
        ("vgg", 0.35, 5, "vgg11_small_fc"),
        ("writers", 0.05, 5, "lenet_300_100"),
    ):
        run = study.Run(setting, "init", 15, federated=True)
        scenario = simfl.load(study.SCENARIO, run.changes(rounds=1000))
        learning = scenario.learning
        devices = scenario.platform.devices
        assert learning.local.learning_rate == rate
        assert learning.model.name == model
        assert sum(d.count for name, d in devices.items() if name != "server") == clients
        options = learning.algorithm.options
        first, last, _ = study.SETTINGS[setting].federated
        assert (options.level, options.final_level, options.initial) == (
            first,
            last,
            "initialization",
        )
        # a shortened run comes to its last level half way
        assert options.prune_every * (last - first) <= 500
        assert scenario.stop.accuracy is scenario.stop.time is None


def test_outputs_that_no_input_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ANALYSIS))
    masks = importlib.import_module("prunefl_masks")
    layout = Layout(("fc1.weight", "fc2.weight", "fc3.weight"), ((2, 3), (2, 2), (3, 2)))
    kept = over(
        layout,
        {
            # of two hidden units only the first has an input
            "fc1.weight": torch.tensor([[0.0, 1, 0], [0, 0, 0]]),
            # and only the first of the next two is fed by it
            "fc2.weight": torch.tensor([[1.0, 0], [0, 1]]),
            # outputs: fed, fed by the one without input, by none
            "fc3.weight": torch.tensor([[1.0, 1], [0, 1], [0, 0]]),
        },
    )
    state = ModelState(tensors=NamedTensors(layout, torch.ones(layout.size)), masks=kept)
    assert masks.unreached(state) == 2
