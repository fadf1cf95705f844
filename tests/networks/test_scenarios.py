"""Networks in a scenario: from YAML to a run."""

from pathlib import Path

import pytest

import simfl
from simfl.assembly import check
from simfl.errors import ScenarioError
from simfl.scenario import load, loads

ROOT = Path(__file__).parents[2]


def network_of(text: str, network: str) -> str:
    start = text.index("  network:\n")
    return text[:start] + network + text[text.index("topology:") :]


def test_a_scenario_that_says_nothing_of_its_network(scenario_text: str) -> None:
    scenario = loads(network_of(scenario_text, ""))
    assert scenario.platform.network.kind == "star"
    wiring = check(scenario).wiring
    assert wiring.notes == (
        "server has ethernet_1g (its device model's)",
        "pi3 has wifi_pi_2.4ghz (its device model's)",
        "pi4 has wifi_pi_2.4ghz (its device model's)",
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            "{kind: star, access: ltee}",
            "s.yaml:21: platform.network.access.preset: unknown link preset 'ltee'; did you mean",
        ),
        (
            "{kind: star, access: {preset: lte, latncy: 5 ms}}",
            "s.yaml:21: platform.network.access.latncy: unknown key; did you mean 'latency'?",
        ),
        (
            "{kind: star, access: {preset: lte, down: 5}}",
            "s.yaml:21: platform.network.access.down: 5 has no unit; write a rate with its unit",
        ),
        (
            "{kind: star, access_of: {pi5: lte}}",
            "s.yaml:21: platform.network.access_of.pi5: no device group 'pi5'; did you mean 'pi",
        ),
        (
            "{kind: cells, cells: 1, wifi: {aggregation: 2}, backbone: ethernet_1g}",
            "s.yaml:21: platform.network.wifi.phy: no rate for station 'pi3-0'; add this key",
        ),
        (
            "{kind: star, access: {preset: lte, trace: none.txt}}",
            "s.yaml:21: platform.network.access.trace: none.txt: No such file or directory; give",
        ),
        ("{kind: starr}", "s.yaml:21: platform.network.kind: unknown network kind 'starr'; did"),
        ("{}", "s.yaml:20: platform.network.kind: missing; add this key"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    scenario_text: str, network: str, message: str
) -> None:
    text = network_of(scenario_text, f"  network:\n    {network}\n")
    with pytest.raises(ScenarioError) as error:
        check(loads(text, "s.yaml"))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["star", "access_links", "cells"])
def test_another_kind_alone_is_one_line_with_the_hint(scenario_text: str, kind: str) -> None:
    with pytest.raises(ScenarioError) as error:
        loads(scenario_text, overrides=[f"platform.network.kind={kind}"])
    assert str(error.value) == (
        f"platform.network.kind={kind}: the options beside the kind are those of another; replace "
        f"them all: platform.network='{{kind: {kind}}}'"
    )


def test_paths_are_relative_to_the_scenario(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "smoke" / "star_lte.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "bus.txt").write_text("0 3\n1 nan\n")
    message = r"access_of\.bus\.trace: .*/traces/bus\.txt:2: a rate of nan"
    with pytest.raises(ScenarioError, match=message):
        check(load(tmp_path / "mine.yaml"))
    (tmp_path / "traces" / "bus.txt").write_text("0 3\n1 4\n")
    check(load(tmp_path / "mine.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cells", "star_lte"])
def test_smoke_scenarios_run_and_can_be_timed_anew(name: str, tmp_path: Path) -> None:
    trace = simfl.run(simfl.load(f"smoke/{name}"), out=tmp_path / "run.h5")
    assert trace.complete
    seconds = trace.transfers["end_s"] - trace.transfers["start_s"]
    of = seconds.groupby(trace.transfers["source"]).min()
    slow, fast = ("pi4-0", "pi4-1") if name == "cells" else ("bus-0", "home-0")
    assert of[slow] > 2 * of[fast]
    # the rate trace is found from the recorded run, too
    points = simfl.whatif(trace.path, "platform.network.server=ethernet_1g,3g", train=False)
    assert points["time_s"][0] == trace.scores["time_s"].max()
    assert points["time_s"][1] > points["time_s"][0]
    assert points["anew"].tolist() == [0, 0]
