from pathlib import Path

import pytest

import simfl
from simfl.errors import ScenarioError
from simfl.scenario.scale import parse


def test_rounds_and_the_schedules_that_span_them() -> None:
    short = simfl.load("feddip_lenet", scale="rounds=0.05")
    assert short.protocol.options.rounds == 50
    algorithm = short.learning.algorithm.options
    assert (algorithm.horizon, algorithm.reconfigure_every) == (50, 5)
    assert (short.platform.clients, short.protocol.options.cohort) == (50, 5)
    assert short.scaled == "50 of 1,000 rounds"


def test_fewer_clients_hold_what_they_held() -> None:
    whole = simfl.load("feddip_lenet")
    short = simfl.load("feddip_lenet", scale="clients=0.2")
    assert (short.platform.clients, short.protocol.options.cohort) == (10, 1)
    assert short.learning.dataset.partition.options.parts == whole.platform.clients
    assert short.protocol.options.rounds == 1000
    assert short.scaled == "10 of 50 clients"


def test_one_share_is_for_both_and_overrides_come_first() -> None:
    short = simfl.load("feddip_lenet", ["protocol.rounds=300"], scale="0.1")
    assert short.scaled == "30 of 300 rounds, 5 of 50 clients"
    assert simfl.load("feddip_lenet", scale="1") == simfl.load("feddip_lenet")


def test_a_trace_says_that_it_is_scaled(tmp_path: Path) -> None:
    scenario = simfl.load("smoke/fedavg_access_links", scale="rounds=0.4")
    trace = simfl.run(scenario, out=tmp_path / "run.h5", store=False, executor="inline")
    assert "scaled: 2 of 5 rounds" in trace.scenario
    assert trace.status == "complete: 2 rounds"


@pytest.mark.parametrize("text", ["0", "2", "-1", "many", "rounds=", "epochs=0.1", "rounds=2", ""])
def test_mistakes(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"--scale .*give a share above 0 and up to 1"):
        parse(text)
