from collections.abc import Callable
from pathlib import Path

import pytest

from simfl.cost.wires import Link
from simfl.errors import OptionError
from simfl.networks.base import Wiring

Build = Callable[..., Wiring]


def links_of(wiring: Wiring) -> dict[str, Link]:
    return {link.name: link for link in wiring.wires.links}


def test_each_node_has_links_of_its_own_sort(build: Build) -> None:
    phone = {"down": "20 Mbit/s", "up": "5 Mbit/s", "latency": "10 ms", "jitter": "2 ms"}
    phone |= {"loss": 0.001, "queue": "64 kB", "discipline": "fq_codel", "overhead_bytes": 4}
    wiring = build("star", access="lte", access_of={"bus": phone, "home-1": "adsl"})
    links = links_of(wiring)
    assert links["home-0 down"].rate_bps == 121.4e6
    assert (links["home-1 up"].rate_bps, links["home-1 up"].overhead_bytes) == (640e3, 196)
    for way, rate in (("down", 20e6), ("up", 5e6)):
        assert links[f"bus {way}"] == Link(
            name=f"bus {way}",
            rate_bps=rate,
            latency_s=0.01,
            jitter_s=0.002,
            loss=0.001,
            queue_bytes=64e3,
            discipline="fq_codel",
            overhead_bytes=4,
        )


def test_the_way_is_up_and_down(build: Build, hops: Callable[..., list[str]]) -> None:
    wiring = build("star", access="lte", server="ethernet_1g")
    assert hops(wiring, "bus", "server") == ["bus up", "server down"]
    assert hops(wiring, "server", "home-0") == ["server up", "home-0 down"]
    assert hops(wiring, "bus", "home-1") == ["bus up", "home-1 down"]
    assert wiring.notes == ()


def test_what_nobody_says_comes_from_the_device_or_is_assumed_aloud(build: Build) -> None:
    wiring = build("star")
    links = links_of(wiring)
    assert links["home-0 down"].rate_bps == 25e6
    assert links["bus down"].rate_bps == 121.4e6
    assert links["server down"].rate_bps == 1e9
    assert wiring.notes == (
        "server has ethernet_1g (assumed, for nothing says)",
        "home has cable (its device model's)",
        "bus has lte (assumed, for nothing says)",
    )


def test_figures_go_above_the_preset(build: Build) -> None:
    links = links_of(build("star", access={"preset": "lte", "up": "1 Mbit/s", "latency": "1 s"}))
    up, down = links["bus up"], links["bus down"]
    assert (up.rate_bps, up.latency_s, up.jitter_s) == (1e6, 1.0, 0.0088)
    assert (down.rate_bps, down.latency_s) == (121.4e6, 1.0)


def test_a_radio_is_one_medium_for_both_ways(build: Build) -> None:
    wiring = build("star", access={"preset": "wifi_5ghz", "phy": "100 Mbit/s"})
    out, back = (wiring.wires.path(*ends) for ends in (("bus", "server"), ("server", "bus")))
    assert out is not None
    assert back is not None
    assert out.out[0] == back.out[1]
    cell = wiring.wires.links[out.out[0].link].cell
    assert cell is not None
    assert (list(cell.station_bps), cell.access_s, cell.aggregation) == ([100e6], 190e-6, 32)


def test_traces_lie_elsewhere_for_each_node_by_seed_and_name(build: Build, tmp_path: Path) -> None:
    (tmp_path / "bus.txt").write_text("".join(f"{i} {i + 1}\n" for i in range(50)))
    access = {"preset": "3g", "trace": {"file": "bus.txt", "spread": True, "scale": 2.0}}
    shifts = []
    for seed in (1, 1, 2):
        links = links_of(build("star", access=access, seed=seed))
        traces = [links[f"{node} down"].trace for node in ("home-0", "home-1", "bus")]
        assert all(trace is not None and trace.rates_bps[1] == 4e6 for trace in traces)
        assert all(trace is not None and 0 <= trace.shift_s < 50 for trace in traces)
        # the file is held once
        assert len({id(trace.rates_bps) for trace in traces if trace}) == 1
        shifts.append([trace.shift_s for trace in traces if trace])
        assert links["bus up"].trace is None
    assert shifts[0] == shifts[1] != shifts[2]
    assert len(set(shifts[0])) == 3
    plain = links_of(build("star", access={"preset": "3g", "up_trace": "bus.txt"}))
    assert plain["bus up"].trace is not None
    assert plain["bus up"].trace.shift_s == 0.0
    assert plain["bus down"].trace is None


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"access": "ltee"}, "access.preset", "unknown link preset 'ltee'; did you mean 'lte'?"),
        ({"access": {"up": "1 Mbit/s"}}, "access.down", "missing; add this key, or a preset"),
        ({"access_of": {"buss": "lte"}}, "access_of.buss", "no device group 'buss'; did you mean"),
        (
            {"access": {"preset": "lte", "phy": "5 Mbit/s"}},
            "access.phy",
            "this link is no radio, and has down and up; remove this key",
        ),
        (
            {"access": {"channel_access": "1 ms"}},
            "access.phy",
            "no rate for station 'home-0'; add this key",
        ),
    ],
)
def test_links_that_cannot_be(
    build: Build, options: dict[str, object], option: str, message: str
) -> None:
    with pytest.raises(OptionError) as error:
        build("star", **options)
    assert error.value.option == option
    assert error.value.message.startswith(message)


def test_among_peers_nothing_is_said_of_a_server(build: Build) -> None:
    with pytest.raises(OptionError, match="server: there is no server; remove this key"):
        build("star", {"a": "a", "b": "b"}, access="lte", server="lte")
