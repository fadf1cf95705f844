import pytest

from simfl.errors import ScenarioError
from simfl.scenario import loads


def test_overrides_apply_in_order(scenario_text: str) -> None:
    scenario = loads(
        scenario_text,
        overrides=[
            "seed=2",
            "learning.algorithm.level=7",
            "seed=3",
            "platform.network={kind: access_links, down: 8 Mbit/s, up: 2 Mbit/s}",
            "platform.network.latency=20 ms",
            "protocol.cohort=null",
            "stop.bytes=1 GB",
            "platform.devices.phone={model: pi4, count: 3}",
        ],
    )
    assert scenario.seed == 3
    assert scenario.learning.algorithm.options.level == 7
    network = scenario.platform.network
    options = network.options
    assert (network.kind, options.down, options.latency) == ("access_links", 8e6, 0.02)
    assert scenario.protocol.options.cohort is None
    assert scenario.stop.bytes == 1e9
    assert scenario.platform.clients == 6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "seed: not an override; write key.path=value, e.g. seed=2"),
        ("a..b=1", "a..b=1: not an override; write key.path=value, e.g. seed=2"),
        ("=1", "=1: not an override; write key.path=value, e.g. seed=2"),
        ("seed=[1", "seed=[1: the value is not YAML; quote it"),
        ("seed.x=1", "seed.x=1: 'seed' holds a value, no keys; see the scenario for the path"),
        ("sede=1", "sede=1: sede: unknown key; did you mean 'seed'?"),
        ("seed=x", "seed=x: seed: 'x' has the wrong type; a valid integer is due"),
        (
            "learning.algorithm={name: prunefl}",
            "learning.algorithm={name: prunefl}: learning.algorithm.level: missing; add this key",
        ),
        (
            "codec.name=cooo",
            "codec.name=cooo: codec.name: unknown codec 'cooo'; did you mean 'coo'?",
        ),
    ],
)
def test_a_wrong_override_is_told_as_it_was_written(
    scenario_text: str, override: str, message: str
) -> None:
    with pytest.raises(ScenarioError) as error:
        loads(scenario_text, overrides=["seed=2", override])
    assert str(error.value) == message


def test_another_plug_in_beside_the_options_of_the_one_before(scenario_text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        loads(scenario_text, overrides=["learning.algorithm.name=fedavg"])
    assert str(error.value) == (
        "learning.algorithm.name=fedavg: the options beside the name are those of another; replace "
        "them all: learning.algorithm='{name: fedavg}'"
    )
