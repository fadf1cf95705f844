import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simfl.errors import ScenarioError
from simfl.scenario import Scenario, json_schema, load, loads
from simfl.units import exact

ROOT = Path(__file__).parents[1]
SCENARIOS = sorted((ROOT / "scenarios").rglob("*.yaml"))

# (what stands in the scenario, what a person wrote instead, line, path, message)
MISTAKES = [
    ("seed: 1", "sed: 1", 1, "seed", "missing; add this key"),
    ("seed: 1", "seed: 1\nsede: 2", 3, "sede", "unknown key; did you mean 'seed'?"),
    ("seed: 1", "seed: '1'", 2, "seed", "'1' has the wrong type; a valid integer is due"),
    ("seed: 1", "seed: true", 2, "seed", "True has the wrong type; a valid integer is due"),
    ("seed: 1", "seed: -1", 2, "seed", "-1 is out of range; give a value at least 0"),
    ("seed: 1", "seed:", 2, "seed", "None has the wrong type; a valid integer is due"),
    ("seed: 1", "seed: 1\nseed: 2", 3, "seed", "seed stands twice; remove one of the two"),
    (
        "{name: digits}",
        "{name: digitz}",
        4,
        "learning.dataset.name",
        "unknown data set 'digitz'; did you mean 'digits'?",
    ),
    (
        "{name: digits}",
        "{name: mnist, fallback: digitz}",
        4,
        "learning.dataset.fallback",
        "unknown data set 'digitz'; did you mean 'digits'?",
    ),
    (
        "{name: digits}",
        "{name: digits, partition: shards}",
        4,
        "learning.dataset.partition.name",
        "unknown partition 'shards'; valid: by_writer, dirichlet, iid, pathological, "
        "transformed_copies",
    ),
    (
        "{name: digits}",
        "{name: digits, partition: {name: iid, part: 4}}",
        4,
        "learning.dataset.partition.part",
        "unknown key; did you mean 'parts'?",
    ),
    (
        "{name: digits}",
        "{name: digits, partition: {name: iid, train_share: 0}}",
        4,
        "learning.dataset.partition.train_share",
        "0 is out of range; give a value above 0.0",
    ),
    (
        "{name: digits}",
        "{name: digits, normalise: {mean: [0.5], std: [0.5]}}",
        4,
        "learning.dataset.normalise",
        "unknown key; did you mean 'normalize'?",
    ),
    (
        "{name: digits}",
        "{name: digits, normalize: {mean: [0.5], std: [0]}}",
        4,
        "learning.dataset.normalize.std.0",
        "0 is out of range; give a value above 0.0",
    ),
    (
        "{name: digits}",
        "{name: digits, normalize: {mean: 0.5, std: [0.5]}}",
        4,
        "learning.dataset.normalize.mean",
        "0.5 has the wrong type; a valid list is due",
    ),
    (
        "name: lenet_300_100",
        "name: lenet_300",
        6,
        "learning.model.name",
        "unknown model 'lenet_300'; did you mean 'lenet_300_100'?",
    ),
    (
        "level: 2",
        "levl: 2",
        9,
        "learning.algorithm.levl",
        "unknown key; did you mean 'level'?",
    ),
    ("level: 2", "", 7, "learning.algorithm.level", "missing; add this key"),
    (
        "level: 2",
        "level: 31",
        9,
        "learning.algorithm.level",
        "31 is out of range; give a value at most 30",
    ),
    (
        "[0.2, 0.2, 0.1]",
        "[0.2, 1.2, 0.1]",
        10,
        "learning.algorithm.rates.1",
        "1.2 is out of range; give a value at most 1.0",
    ),
    (
        "[0.2, 0.2, 0.1]",
        "0.2",
        10,
        "learning.algorithm.rates",
        "0.2 has the wrong type; a valid list is due",
    ),
    (
        "batch_size: 20",
        "batch_size: 2.5",
        13,
        "learning.local.batch_size",
        "2.5 has the wrong type; a valid integer is due",
    ),
    (
        "learning_rate: 0.1",
        "learning_rate: 0",
        12,
        "learning.local.learning_rate",
        "0 is out of range; give a value above 0.0",
    ),
    (
        "learning_rate: 0.1",
        "learning_rate: 0.1\n    momentum: 1",
        13,
        "learning.local.momentum",
        "1 is out of range; give a value below 1.0",
    ),
    ("steps: 5", "", 11, "learning.local", "give either steps or epochs, and not both"),
    (
        "steps: 5",
        "steps: 5\n    epochs: 1",
        11,
        "learning.local",
        "give either steps or epochs, and not both",
    ),
    (
        "server: {model: g3s_xlarge}",
        "",
        16,
        "platform.devices",
        "protocol 'synchronous' has a server; add server: {model: ...}",
    ),
    (
        "{model: g3s_xlarge}",
        "{model: g3s_xlarge, count: 2}",
        16,
        "platform.devices",
        "the server's count must be 1",
    ),
    (
        "    pi3: {model: pi3, count: 2}\n    pi4: {model: pi4}\n",
        "",
        16,
        "platform.devices",
        "no client devices; add a group beside 'server'",
    ),
    (
        "{model: pi3, count: 2}",
        "{model: pi3, cuont: 2}",
        18,
        "platform.devices.pi3.cuont",
        "unknown key; did you mean 'count'?",
    ),
    (
        "{model: pi3, count: 2}",
        "pi3",
        18,
        "platform.devices.pi3",
        "'pi3' is not a mapping; write its keys below it",
    ),
    (
        "kind: shared_medium",
        "kind: shared",
        21,
        "platform.network.kind",
        "unknown network kind 'shared'; did you mean 'shared_medium'?",
    ),
    (
        "kind: shared_medium",
        "kind: access_links",
        20,
        "platform.network.down",
        "missing; add this key",
    ),
    (
        "    rate: 20 Mbit/s",
        "    rate: 20",
        22,
        "platform.network.rate",
        "20 has no unit; write a rate with its unit, e.g. '20 Mbit/s'",
    ),
    (
        "    rate: 20 Mbit/s",
        "    rate: 20 MiB",
        22,
        "platform.network.rate",
        "'MiB' is no unit of rate; use one of bit/s, kbit/s, Mbit/s, Gbit/s, Tbit/s, B/s, kB/s, "
        "MB/s, GB/s, TB/s, KiB/s, MiB/s, GiB/s",
    ),
    (
        "    rate: 20 Mbit/s",
        "    rate: 0 Mbit/s",
        22,
        "platform.network.rate",
        "'0 Mbit/s' is out of range; give a rate above 0",
    ),
    (
        "exchange_overhead: 450 ms",
        "exchange_overhead: -450 ms",
        25,
        "platform.network.exchange_overhead",
        "'-450 ms' is out of range; give a time of at least 0",
    ),
    (
        "exchange_overhead: 450 ms",
        "exchange_overhaed: 450 ms",
        25,
        "platform.network.exchange_overhaed",
        "unknown key; did you mean 'exchange_overhead'?",
    ),
    (
        "pi4: 30 Mbit/s",
        "pi5: 30 Mbit/s",
        24,
        "platform.network.rates.pi5",
        "no device group 'pi5'; did you mean 'pi4'?",
    ),
    (
        "{name: star}",
        "star",
        26,
        "topology",
        "'star' is not a mapping; write its keys below it",
    ),
    (
        "rounds: 10",
        "rounds: 0",
        29,
        "protocol.rounds",
        "0 is out of range; give a value at least 1",
    ),
    (
        "{name: coo}",
        "{name: coo, dense_when: never}",
        31,
        "codec.dense_when",
        "'never' is not known here; use 'unpruned' or 'smaller'",
    ),
    (
        "accuracy: 0.9",
        "accuracy: 90",
        33,
        "stop.accuracy",
        "90 is out of range; give a value at most 1.0",
    ),
    (
        "accuracy: 0.9",
        "accuracy: 90 %",
        33,
        "stop.accuracy",
        "'90 %' has the wrong type; a valid number is due",
    ),
    (
        "name: small",
        "name: small/er",
        1,
        "name",
        "String should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]*$'",
    ),
]


@pytest.mark.parametrize(("good", "bad", "line", "path", "message"), MISTAKES)
def test_a_mistake_is_told_with_place_and_mend(
    scenario_text: str, good: str, bad: str, line: int, path: str, message: str
) -> None:
    assert good in scenario_text
    with pytest.raises(ScenarioError) as error:
        loads(scenario_text.replace(good, bad, 1), "my.yaml")
    told = f"my.yaml:{line}: " + ("" if "stands twice" in message else f"{path}: ") + message
    assert told in str(error.value).splitlines()


PEERS = (
    ("    server: {model: g3s_xlarge}\n", ""),
    ("  name: synchronous\n  rounds: 10\n  cohort: 2\n", "  name: neighborhood\n  rounds: 10\n"),
    ("{name: star}", "{name: ring}"),
)


def among_peers(text: str) -> str:
    for good, bad in PEERS:
        assert good in text
        text = text.replace(good, bad)
    return text


def test_a_protocol_of_peers_needs_no_server(scenario_text: str) -> None:
    platform = loads(among_peers(scenario_text)).platform
    assert not platform.has_server
    assert (list(platform.nodes), platform.clients) == (["pi3-0", "pi3-1", "pi4"], 3)
    assert loads(scenario_text).platform.has_server
    assert loads(scenario_text).platform.clients == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("  devices:\n", "  devices:\n    server: {model: pi4}\n"),
            "my.yaml:17: platform.devices.server: protocol 'neighborhood' has peers only; remove "
            "the group 'server'",
        ),
        (
            ("    pi3: {model: pi3, count: 2}\n    pi4: {model: pi4}\n", ""),
            "my.yaml:16: platform.devices: None is not a mapping; write its keys below it",
        ),
        (
            (
                "    kind: shared_medium\n    rate: 20 Mbit/s\n    rates:\n      pi4: 30 Mbit/s\n"
                "    exchange_overhead: 450 ms\n",
                "    {kind: access_links, up: 1 Mbit/s, down: 1 Mbit/s, server_up: 1 Mbit/s}\n",
            ),
            "my.yaml:20: platform.network.server_up: there is no server; remove this key",
        ),
    ],
)
def test_a_server_among_peers(scenario_text: str, change: tuple[str, str], message: str) -> None:
    text = among_peers(scenario_text)
    assert change[0] in text
    with pytest.raises(ScenarioError) as error:
        loads(text.replace(*change), "my.yaml")
    assert message in str(error.value).splitlines()


def test_every_mistake_has_its_line(scenario_text: str) -> None:
    text = scenario_text.replace("seed: 1", "seed: -1").replace("rounds: 10", "rounds: 0")
    with pytest.raises(ScenarioError) as error:
        loads(text)
    assert [line.split(": ")[:2] for line in str(error.value).splitlines()] == [
        ["scenario:2", "seed"],
        ["scenario:29", "protocol.rounds"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml:1: not a mapping; a scenario starts with 'name: ...'"),
        ("- 1", "s.yaml:1: not a mapping; a scenario starts with 'name: ...'"),
        ("a: 1\nb: [1,\nc: 2", "s.yaml:3: not YAML: "),
        ("a: 1\n\tb: 2", "s.yaml:2: not YAML: found character '\\t' that cannot start any token; "),
        ("a: \x00", "s.yaml:1: not YAML: "),
    ],
)
def test_what_is_no_scenario_at_all(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        loads(text, "s.yaml")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml: No such file or directory; give"):
        load(tmp_path / "none.yaml")
    (tmp_path / "photo.yaml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ScenarioError, match=r"photo\.yaml: not text .* at byte 0\); give a YAML"):
        load(tmp_path / "photo.yaml")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_what_is_written_is_read_back_the_same(path: Path) -> None:
    scenario = load(path)
    text = yaml.safe_dump(scenario.written(), sort_keys=False)
    again = loads(text)
    assert again.written() == scenario.written()
    assert again.model_dump() == scenario.model_dump()
    for part in ("topology", "protocol", "codec"):
        assert getattr(again, part).options == getattr(scenario, part).options
    assert again.platform.network.options == scenario.platform.network.options
    for part in ("dataset", "model", "algorithm"):
        mine, other = getattr(scenario.learning, part), getattr(again.learning, part)
        assert mine.options == other.options


@given(
    rate=st.floats(1e-3, 1e12),
    time=st.floats(1e-9, 1e9),
    overhead=st.floats(0, 100),
    seed=st.integers(0, 2**63),
)
def test_quantities_survive_being_written(
    scenario_text: str, rate: float, time: float, overhead: float, seed: int
) -> None:
    changes = [
        f"platform.network.rate={exact(rate, 'rate')}",
        f"stop.time={exact(time, 'time')}",
        f"platform.network.exchange_overhead={exact(overhead, 'time')}",
        f"seed={seed}",
    ]
    scenario = loads(scenario_text, overrides=changes)
    again = loads(yaml.safe_dump(scenario.written()))
    assert again.written() == scenario.written()
    network = again.platform.network.options
    assert (network.rate, again.stop.time) == (rate, time)
    assert (network.exchange_overhead, again.seed) == (overhead, seed)


def test_defaults_are_written_out(scenario_text: str) -> None:
    written = loads(scenario_text).written()
    assert written["learning"]["algorithm"]["server_samples"] == 200
    assert written["learning"]["local"]["gradients"] == "fresh"
    assert written["platform"]["network"]["exchange_overhead"] == "450 ms"
    assert written["codec"] == {"name": "coo", "dense_when": "unpruned", "convolutions": "dense"}
    assert written["stop"]["time"] == "3 h"


def test_a_partition_by_its_name_alone_is_one_with_defaults(scenario_text: str) -> None:
    one, other = (
        loads(scenario_text, overrides=[f"learning.dataset.partition={it}"])
        for it in ("iid", "{name: iid, parts: null}")
    )
    assert one == other == loads(scenario_text)
    dataset = one.written()["learning"]["dataset"]
    assert dataset["partition"] == {"name": "iid", "parts": None, "train_share": 1.0}
    assert dataset["normalize"] is None
    again = loads(one.as_yaml(), overrides=["learning.dataset.partition.parts=7"])
    assert again.learning.dataset.partition.options.parts == 7


def test_a_scenario_is_frozen(scenario_text: str) -> None:
    scenario = loads(scenario_text)
    with pytest.raises(ValidationError):
        scenario.seed = 2
    with pytest.raises(ValidationError):
        scenario.learning.algorithm.options.level = 3


def test_a_mistake_found_later_still_knows_its_line(scenario_text: str) -> None:
    scenario = loads(scenario_text, "s.yaml", ["seed=2"])
    located = scenario.located(("protocol", "cohort"), "too many")
    assert str(located) == "s.yaml:30: protocol.cohort: too many"
    assert str(scenario.located(("seed",), "odd")) == "seed=2: seed: odd"


def test_the_published_schema_is_this_one() -> None:
    published = json.loads((ROOT / "scenarios" / "scenario.schema.json").read_text())
    assert published == json_schema()


def test_the_schema_names_every_plug_in_and_option() -> None:
    schema = json_schema()
    variants = {
        variant["properties"]["name"]["const"]: variant
        for variant in schema["$defs"]["AlgorithmChoice"]["oneOf"]
    }
    assert set(variants) >= {"fedavg", "prunefl"}
    prunefl = variants["prunefl"]
    assert {"name", "level"} <= set(prunefl["required"])
    assert prunefl["additionalProperties"] is False
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Scenario.model_fields)
    # every reference has its definition
    text = json.dumps(schema)
    named = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert named <= set(schema["$defs"])
