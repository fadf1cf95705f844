from typing import Any

import pytest

from simfl.cost.compact import Compact
from simfl.cost.evidence import evidence_of, figures
from simfl.cost.figures import Figure
from simfl.devices import device_names, load_device, load_group, notes
from simfl.resources import names


def figure(value: str, kind: str, log_sd: float) -> dict[str, Any]:
    return {"value": value, "kind": kind, "source": "the bench", "log_sd": log_sd}


def compact(**parts: dict[str, Any]) -> Compact:
    return Compact.model_validate({"kind": "compact", **parts})


STEP, PEAK = figure("1 ms", "measured", 0.1), figure("1 Gflop/s", "spec", 0.8)
SCALED = figure("1 Gflop/s", "derived", 0.5)


@pytest.mark.parametrize(
    ("parts", "grade", "rough", "log_sd"),
    [
        ({"train": {"step": STEP}}, "measured", False, 0.1),
        # a peak beside what was measured says so, but is not all there is
        ({"train": {"step": STEP, "dense_rate": PEAK}}, "measured to spec", False, 0.8),
        ({"train": {"dense_rate": PEAK}}, "spec", True, 0.8),
        # derived, and yet worth no more than a guess
        ({"train": {"dense_rate": SCALED}}, "derived", True, 0.5),
        # who can train is judged by that
        ({"train": {"dense_rate": PEAK}, "inference": {"step": STEP}}, "spec", True, 0.8),
        ({"inference": {"step": STEP}}, "measured", False, 0.1),
        ({}, "assumed", True, 0.0),
    ],
)
def test_grades(parts: dict[str, Any], grade: str, rough: bool, log_sd: float) -> None:
    found = evidence_of(compact(**parts))
    assert (found.grade, found.rough, found.log_sd) == (grade, rough, log_sd)


def test_rough_devices_are_told_of_and_others_are_not() -> None:
    told = {name: notes([load_group(name)]) for name in device_names()}
    rough = {"galaxy_a53", "galaxy_a9", "i7_4790", "i7_7700", "jetson_xavier_nx"}
    rough |= {"pixel3", "pixel3_assumed"}
    crowds = {"phones_fedscale", "phones_propius"}
    assert {name for name, lines in told.items() if lines} == rough | crowds
    assert all(len(lines) <= 1 for lines in told.values())
    assert told["jetson_xavier_nx"] == (
        "jetson_xavier_nx: nothing behind its times was measured on it (spec); one time in three "
        "they are off by more than a factor of 2.2",
    )
    # a model that two groups share is told of once
    assert len(notes([load_group("pixel3"), load_group("pixel3")])) == 1


@pytest.mark.parametrize("name", device_names())
def test_every_figure_of_every_device_has_a_source(name: str) -> None:
    found = dict(figures(load_group(name)))
    assert len(found) > 3
    for keys, one in found.items():
        assert isinstance(one, Figure)
        assert len(one.source) > 8, keys
        # whoever derives says how: in the note, or by naming the script
        assert one.kind != "derived" or one.note or "analysis/" in one.source or keys[0] != "cost"
        for word in ("/work", "/tmp", "/home", "http"):
            assert word not in one.source + one.note, keys


@pytest.mark.parametrize("name", names("device_models"))
def test_a_spec_sheet_is_never_trusted(name: str) -> None:
    for _, one in figures(load_device(name).cost):
        if one.kind == "spec":
            assert one.log_sd >= 0.8  # type: ignore[attr-defined]
        assert one.kind != "assumed" or one.log_sd >= 0.3  # type: ignore[attr-defined]
