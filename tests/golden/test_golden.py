"""Smoke scenarios against recorded time stamps and bytes: exact; accuracy by tolerance.

After a wanted change: ``python tests/golden/test_golden.py`` writes them anew; the commit then says
why each number moved.
"""

import csv
import sys
from pathlib import Path

import pytest

import simfl

HERE = Path(__file__).parent
SCENARIOS = ("prunefl_federated", "fedavg_access_links", "ring", "cells", "star_lte")


def rows_of(trace: simfl.Trace) -> list[list[str]]:
    rows = [
        ["activity", repr(a.start_s), repr(a.end_s), a.node, a.verb, str(a.round), ""]
        for a in trace.activities.itertuples()
    ]
    for t in trace.transfers.itertuples():
        who = f"{t.source}>{t.target}"
        rows.append(
            ["transfer", repr(t.start_s), repr(t.end_s), who, "", str(t.round), str(t.nbytes)]
        )
    for s in trace.scores.itertuples():
        sent = str(s.down_bytes + s.up_bytes)
        rows.append(["score", repr(s.time_s), "", s.node, f"{s.accuracy:.4f}", str(s.round), sent])
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_smoke_scenario_keeps_its_time_stamps_and_bytes(name: str, tmp_path: Path) -> None:
    trace = simfl.run(simfl.load(f"smoke/{name}"), out=tmp_path / "run.h5")
    assert trace.complete
    with (HERE / f"{name}.csv").open() as file:
        expected = list(csv.reader(file))
    found = rows_of(trace)
    assert len(found) == len(expected)
    for now, then in zip(found, expected, strict=True):
        if now[0] == "score":
            # another processor may round differently, and learning amplifies that
            assert float(now.pop(4)) == pytest.approx(float(then.pop(4)), abs=0.05)
        assert now == then


if __name__ == "__main__":
    import tempfile

    for scenario in sys.argv[1:] or SCENARIOS:
        with tempfile.TemporaryDirectory() as folder:
            result = simfl.run(simfl.load(f"smoke/{scenario}"), out=Path(folder) / "run.h5")
        with (HERE / f"{scenario}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows_of(result))
