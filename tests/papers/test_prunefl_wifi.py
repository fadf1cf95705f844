"""PruneFL's communication times from 802.11 airtime and TCP (analysis/prunefl_wifi.py)."""

import runpy
from pathlib import Path

import pytest

STUDY = runpy.run_path(str(Path(__file__).parents[2] / "analysis" / "prunefl_wifi.py"))
# of fewer federations than the study's, so the mean of TCP's flows is less sure: to about 1 %
FEDERATIONS = 20


@pytest.mark.parametrize("name", STUDY["AIRTIME_FIT"])
def test_airtime_is_within_5_percent_where_it_was_fitted(name: str) -> None:
    point = STUDY["points"]()[name]
    found_s = STUDY["communication_s"](STUDY["airtime"](), point, federations=FEDERATIONS)
    assert found_s == pytest.approx(point.measured_s, rel=0.05)


@pytest.mark.parametrize(
    ("name", "error"), [("Fig. 11, 0.44 MiB", 0.1), ("Fig. 11, 10.53 MiB", 0.05)]
)
def test_airtime_predicts_what_was_held_back(name: str, error: float) -> None:
    """-6.6 and +0.2 % when the fit was made; a model that got worse is seen here."""
    point = STUDY["points"]()[name]
    assert name not in STUDY["AIRTIME_FIT"]
    found_s = STUDY["communication_s"](STUDY["airtime"](), point, federations=FEDERATIONS)
    assert found_s == pytest.approx(point.measured_s, rel=error)
