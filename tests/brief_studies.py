"""A short scenario for studies, and whether two studies are the same."""

from pathlib import Path

import pandas as pd

NAME = "smoke/fedavg_access_links"
BRIEF = [
    "learning.model={name: simple_cnn}",
    "learning.local.epochs=null",
    "learning.local.steps=2",
    "protocol.rounds=3",
    "stop={}",
]


def assert_same(found: pd.DataFrame, local: pd.DataFrame) -> None:
    """The same table, and the same traces, byte for byte."""
    assert found.drop(columns="trace").equals(local.drop(columns="trace"))
    for here, there in zip(found["trace"], local["trace"], strict=True):
        assert Path(here).name == Path(there).name
        assert Path(here).read_bytes() == Path(there).read_bytes()
