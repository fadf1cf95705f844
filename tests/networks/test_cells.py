from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simfl.errors import OptionError
from simfl.networks.base import Wiring

Build = Callable[..., Wiring]
RADIO = {"wifi": "wifi_5ghz", "backbone": "ethernet_100"}
GROUPS = {"cells": 2, **RADIO}


def test_nodes_are_dealt_out_in_turn(build: Build, hops: Callable[..., list[str]]) -> None:
    wiring = build("cells", rates={"home": "50 Mbit/s", "home-1": "6 Mbit/s"}, **GROUPS)
    cells = [link.cell for link in wiring.wires.links if link.cell]
    assert [list(cell.station_bps) for cell in cells] == [[50e6, 433.3e6], [6e6]]
    assert hops(wiring, "home-0", "server") == ["cell 0", "backbone 0 up", "server down"]
    # in one cell twice through the air; to the other over the backbone
    assert hops(wiring, "home-0", "bus") == ["cell 0", "cell 0"]
    assert hops(wiring, "home-1", "bus") == [
        *("cell 1", "backbone 1 up", "backbone 0 down", "cell 0")
    ]
    path = wiring.wires.path("home-0", "bus")
    assert path is not None
    assert [hop.station for hop in path.out] == [0, 1]


def test_members_by_group_or_node(build: Build, hops: Callable[..., list[str]]) -> None:
    wiring = build("cells", members={"attic": ["home-1"], "yard": ["bus", "home-0"]}, **RADIO)
    assert hops(wiring, "server", "home-1")[-1] == "cell attic"
    assert hops(wiring, "server", "bus")[-1] == hops(wiring, "server", "home-0")[-1] == "cell yard"


def test_a_wires_trace_is_shifted_as_well(build: Build, tmp_path: Path) -> None:
    (tmp_path / "rates.txt").write_text("0 5\n1 6\n2 7\n")
    wire = {"trace": {"file": "rates.txt", "shift": "1 s"}, "up": "5 Mbit/s"}
    wiring = build("cells", cells=1, wifi="wifi_5ghz", backbone=wire)
    [backbone] = [link for link in wiring.wires.links if link.name == "backbone 0 down"]
    assert backbone.trace is not None
    assert backbone.trace.rate_at(0.0) == 6e6


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        (
            {"cells": 2, "wifi": {"aggregation": 4}, "backbone": "ethernet_1g"},
            "wifi.phy",
            "no rate for station 'home-0'; add this key",
        ),
        (GROUPS | {"wifi": "lte"}, "wifi", "this link is no radio; give phy"),
        (GROUPS | {"backbone": "wifi_5ghz"}, "backbone", "a radio does not join two places"),
        (GROUPS | {"rates": {"hom": "1 Mbit/s"}}, "rates.hom", "no device group 'hom'; did you"),
        (RADIO | {"members": {"x": ["home"]}}, "members", "'bus' is in no cell; name it or its"),
        (
            RADIO | {"members": {"x": ["home", "bus"], "y": ["bus"]}},
            "members.y",
            "'bus' is in cell 'x' already; name it once",
        ),
    ],
)
def test_cells_that_cannot_be(
    build: Build, options: dict[str, Any], option: str, message: str
) -> None:
    with pytest.raises(OptionError) as error:
        build("cells", **options)
    assert error.value.option == option
    assert error.value.message.startswith(message)
