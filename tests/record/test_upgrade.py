from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import simfl
from simfl.errors import TraceError
from simfl.record.summary import summarise

ADDED = ("rounds", "away", "metrics")


@pytest.mark.parametrize("name", ["smoke/ring", "smoke/fedavg_access_links"])
def test_a_trace_of_the_version_before_says_the_same(tmp_path: Path, name: str) -> None:
    changes = ["protocol.rounds=3"]
    new = simfl.run(simfl.load(name, changes), out=tmp_path / "new.h5", store=False)
    old_path = tmp_path / "old.h5"
    with h5py.File(new.path) as source, h5py.File(old_path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        target.attrs["schema_version"] = 5
        for table in source:
            if table in ADDED:
                continue
            rows = source[table][:]
            if "cut" in (rows.dtype.names or ()):
                kept = [column for column in rows.dtype.names if column != "cut"]
                rows = np.array(rows[kept].tolist(), dtype=[(c, rows.dtype[c]) for c in kept])
            target[table] = rows
    old = simfl.Trace(old_path)
    for table in ("activities", "transfers", "scores", "nodes", "energy", "links"):
        pd.testing.assert_frame_equal(getattr(old, table), getattr(new, table))
    pd.testing.assert_frame_equal(old.curve, new.curve)
    assert old.rounds["round"].tolist() == new.rounds["round"].tolist()
    assert old.rounds["end_s"].tolist() == new.rounds["end_s"].tolist()
    assert old.rounds["updates"].tolist() == new.rounds["updates"].tolist()
    assert old.recorded() == new.recorded()
    # by their texts: what is not known is no equal of itself
    assert repr(summarise(old)) == repr(summarise(new))
    assert old.away.empty


def test_an_older_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = 4
    with pytest.raises(TraceError, match="not a trace of this version of simfl"):
        simfl.Trace(path)
