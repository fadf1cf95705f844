from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from simfl.availability.base import Spell
from simfl.availability.on_off import OnOffOptions, on_off

OPTIONS = OnOffOptions(there="8 min", away="2 min")


def spells(nodes: list[str], seed: int, until_s: float) -> dict[str, list[Spell]]:
    found = on_off(OPTIONS, nodes, folder=Path(), seed=seed)
    return {n: list(takewhile(lambda s: s.start_s < until_s, it)) for n, it in found.items()}


def test_a_share_of_all_is_there_at_any_time() -> None:
    names = [f"n{i}" for i in range(400)]
    found = spells(names, 3, 36_000)
    for at_s in (0.0, 10.0, 30_000.0):
        there = sum(any(s.start_s <= at_s < s.end_s for s in found[n]) for n in names)
        # 80 % of 400, five standard deviations of 8
        assert abs(there - 320) < 40
    lengths = [s.end_s - s.start_s for n in names for s in found[n][1:-1]]
    gaps = [b.start_s - a.end_s for n in names for a, b in pairwise(found[n])]
    assert sum(lengths) / len(lengths) == pytest.approx(480, rel=0.05)
    assert sum(gaps) / len(gaps) == pytest.approx(120, rel=0.05)


def test_spells_are_in_order_and_a_nodes_own() -> None:
    some, more = spells(["a", "b"], 3, 9000), spells(["a", "b", "c"], 3, 9000)
    assert some == {name: more[name] for name in ("a", "b")}
    assert some["a"] != some["b"]
    assert spells(["a"], 4, 9000)["a"] != some["a"]
    for one in some.values():
        assert all(a.start_s < a.end_s < b.start_s for a, b in pairwise(one))
