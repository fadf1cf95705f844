"""AutoPrune's inference (analysis/inference_fig4.py, analysis/inference_speedup.py)."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import simfl

ANALYSIS = Path(__file__).parents[2] / "analysis"
FIG4 = runpy.run_path(str(ANALYSIS / "inference_fig4.py"))
SPEEDUP = runpy.run_path(str(ANALYSIS / "inference_speedup.py"))
PAIRS: list[Any] = SPEEDUP["autoprune"]()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def mflop(module: nn.Module, shape: tuple[int, ...]) -> float:
    found = simfl.inference_time(module, "i7_4790", sample_shape=shape)
    return 2 * found.macs / 1e6


def test_the_networks_are_those_of_table_1() -> None:
    femnist, celeba = PAIRS
    assert parameters(femnist.dense()) == 56_126
    assert parameters(femnist.pruned()) == 16_683
    assert parameters(celeba.dense()) == 80_930
    assert mflop(femnist.dense(), femnist.shape) == pytest.approx(7.5, rel=0.01)
    assert mflop(femnist.pruned(), femnist.shape) == pytest.approx(2.2, rel=0.05)
    assert mflop(celeba.dense(), celeba.shape) == pytest.approx(152, rel=0.01)
    assert mflop(celeba.pruned(), celeba.shape) == pytest.approx(29, rel=0.03)


@pytest.fixture(scope="module")
def rows() -> list[Any]:
    found = list(FIG4["rows"]())
    assert len(found) == 15
    return found


@pytest.mark.parametrize("number", range(15))
def test_pruning_saves_time_on_all_five_and_what_was_used_is_met(
    number: int, rows: list[Any]
) -> None:
    row = rows[number]
    # Table 1's, without the running statistics of 78 channels; of Conv no widths are known
    known = {"autoprune_resnet": 6_791 - 2 * 78, "autoprune_inception": 127_080}
    assert row.pruned.parameters == known.get(row.network, 12_350)
    assert row.pruned.memory_bytes < row.original.memory_bytes
    if row.network == "autoprune_conv":
        assert 0.49 < row.ratio < 0.75
    assert row.ratio < 1
    # what is used up is met
    if row.printed:
        rates = [one.throughput_per_s for one in (row.original, row.pruned)]
        assert rates == pytest.approx(row.printed, rel=0.01)


def test_drawn_networks_are_the_same_for_a_seed_and_run() -> None:
    first, again, other = (SPEEDUP["drawn"](seed) for seed in (1, 1, 2))
    assert [pair.name for pair in first] == [pair.name for pair in again]
    assert [pair.name for pair in first] != [pair.name for pair in other]
    for pair in first[:4]:
        sizes = [parameters(SPEEDUP["made"](b, pair.shape)) for b in (pair.dense, pair.pruned)]
        assert sizes[0] > sizes[1]
        with torch.no_grad():
            out = SPEEDUP["made"](pair.pruned, pair.shape)(torch.zeros(2, *pair.shape))
        assert out.shape == (2, 10)
