"""The rows that the study in Flower logged (analysis/flower_logged.csv), against its Table 1."""

import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("matplotlib")

ANALYSIS = Path(__file__).parents[2] / "analysis"
LOGGED = pd.read_csv(ANALYSIS / "flower_logged.csv")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.syspath_prepend(str(ANALYSIS))
    names = ("flower_table1", "flower_figs")
    return {name: runpy.run_path(str(ANALYSIS / f"{name}.py")) for name in names}


def test_the_table_is_of_these_rows(scripts: dict[str, dict[str, Any]]) -> None:
    series = LOGGED.groupby(["scenario", "method"])
    assert len(series) == 3
    for key, rows in series:
        accuracies, sizes = scripts["flower_table1"]["PAPER"][key]
        by_rate = rows.groupby("rate")
        # the table has 0.92 where its log has 0.9279, so up to a hundredth below
        assert by_rate["accuracy"].max().tolist() == pytest.approx(accuracies, abs=0.01)
        mib = by_rate["up_bytes"].mean() / 2**20
        assert mib.tolist() == pytest.approx(sizes, abs=0.0051)


def test_rounds_to_an_accuracy_are_those_of_the_text(scripts: dict[str, dict[str, Any]]) -> None:
    some = LOGGED[LOGGED["scenario"] == "flower_resnet12"].assign(seed=0)
    counted = scripts["flower_figs"]["reached"](some, 0.95).set_index("rate")
    # "an unpruned model and a model pruned at 20% both require 5 rounds ... 80% only needs 3
    # additional rounds ... 90% never recovers"
    assert counted["rounds"][[0.0, 0.2, 0.8]].tolist() == [5, 5, 8]
    assert pd.isna(counted["rounds"][0.9])
    assert pd.isna(counted["to_mib"][0.9])
    # five dense messages
    assert counted["to_mib"][0.0] == pytest.approx(5 * 155.74, rel=1e-3)
