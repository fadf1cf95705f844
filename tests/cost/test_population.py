import json
from collections import Counter
from math import log
from pathlib import Path
from statistics import fmean, median

import pytest
import yaml

import simfl
from simfl.assembly import check
from simfl.cost.population import Population
from simfl.devices import device_names, load_device, load_group
from simfl.errors import CostError, SimflError
from simfl.scenario import loads
from simfl.work import Kind, LayerWork, Passes, Storage, Workload

SEED = 11
CROWD = """
name: crowd
seed: {seed}
learning:
  dataset: {{name: digits}}
  model: {{name: lenet_300_100}}
  algorithm: {{name: fedavg}}
  local: {{learning_rate: 0.1, batch_size: 32, steps: 1}}
platform:
  devices: {{server: {{model: g3s_xlarge}}, {groups}}}
  network: {network}
topology: {{name: star}}
protocol: {{name: synchronous, rounds: 2}}
codec: {{name: dense}}
record: {{path: runs/crowd.h5}}
"""
STAR = "{kind: star}"


def crowd(groups: str, seed: int = SEED, network: str = STAR) -> simfl.Scenario:
    return loads(CROWD.format(seed=seed, groups=groups, network=network), "crowd.yaml")


def population(name: str) -> Population:
    found = load_group(name)
    assert isinstance(found, Population)
    return found


def sample_ms(name: str, index: int, seed: int = SEED) -> float:
    """Milliseconds of a sample's forward pass."""
    work = Workload(samples=1, steps=1, passes=Passes.FORWARD)
    return population(name).member(seed, index).seconds(work) * 1e3


def test_a_crowd_has_the_published_quantiles() -> None:
    # FedScale's latencies as digitised: median 40.56 ms, 5 % below 19.03, 95 % below 189.72
    drawn = sorted(sample_ms("phones_fedscale", i) for i in range(4000))
    assert median(drawn) == pytest.approx(40.56, rel=0.1)
    assert drawn[200] == pytest.approx(19.03, rel=0.05)
    assert drawn[3800] == pytest.approx(189.72, rel=0.02)
    # two humps with a valley between: 45 % below 31.04, 35 % above 125.17
    assert sum(ms < 31.04 for ms in drawn) / 4000 == pytest.approx(0.45, abs=0.03)
    assert sum(ms > 125.17 for ms in drawn) / 4000 == pytest.approx(0.35, abs=0.03)
    assert drawn[0] > 15.02
    assert drawn[-1] < 196.22


def test_goodputs_have_theirs_whatever_the_latency() -> None:
    members = [population("phones_fedscale").member(SEED, i) for i in range(2000)]
    rates = [m.radio.value for m in members if m.radio]
    assert len(rates) == 2000
    assert median(rates) == pytest.approx(6.11e6, rel=0.1)
    assert sum(rate < 2.988e6 for rate in rates) / 2000 == pytest.approx(0.26, abs=0.03)
    slow = [m.radio.value for m in members if m.radio and m.seconds(Workload(samples=1)) > 0.3]
    mean = fmean(map(log, rates))
    assert fmean(map(log, slow)) == pytest.approx(mean, abs=0.12)


def test_a_list_gives_its_phones_with_name_and_memory() -> None:
    members = [population("phones_propius").member(SEED, i) for i in range(3000)]
    names = Counter(m.name for m in members)
    assert set(names) <= {f"phones_propius/{n}" for n in population("phones_propius").members}
    assert len(names) > 800
    # 204 of the 952 have 4 GB, 268 have 8 GB
    ram = Counter(round(m.ram.value / 1e9, 2) for m in members)
    assert ram[4.0] / 3000 == pytest.approx(204 / 952, abs=0.03)
    assert ram[8.0] / 3000 == pytest.approx(268 / 952, abs=0.03)
    pixel = next(m for m in members if m.name == "phones_propius/Google Pixel 3")
    assert pixel.seconds(Workload(samples=1, passes=Passes.FORWARD)) == pytest.approx(0.07)


def test_fedscales_rule_is_three_inferences_a_sample_whatever_the_model() -> None:
    member = population("phones_propius").member(SEED, 0)
    wide = LayerWork(name="fc", kind=Kind.LINEAR, macs=10**9, weights=10**6, nonzero=10**6)
    thin = LayerWork(
        name="fc", kind=Kind.LINEAR, macs=10**9, weights=10**6, nonzero=9, storage=Storage.COO
    )
    forward_s = member.seconds(Workload(samples=1, steps=1, passes=Passes.FORWARD))
    for layer in (wide, thin):
        work = Workload(layers=(layer,), samples=100, steps=5)
        assert member.seconds(work) == pytest.approx(3 * 100 * forward_s)


def test_who_a_client_is_depends_on_its_index_and_the_seed_alone() -> None:
    few, many = (crowd(f"a: {{model: phones_propius, count: {n}}}") for n in (3, 30))
    other = crowd("a: {model: phones_propius, count: 30}", seed=SEED + 1)
    names = [[d.name for d in check(s).devices.values()] for s in (few, many, other)]
    assert names[0] == names[1][:4]
    assert names[1][1:] != names[2][1:]
    # the group's name says nothing, its place does: two groups are not each other's copies
    two = crowd("b: {model: phones_propius, count: 3}, c: {model: phones_propius, count: 3}")
    assert [d.name for d in check(two).devices.values()][1:] == names[1][1:7]


def test_each_node_has_its_own_device_and_link(tmp_path: Path) -> None:
    scenario = crowd("a: {model: phones_fedscale, count: 4}, b: {model: pi4}")
    platform = check(scenario)
    assert list(platform.devices) == ["server", "a-0", "a-1", "a-2", "a-3", "b"]
    assert platform.devices["b"].name == "pi4"
    assert platform.wiring.notes[1].startswith("a has lte (its device model's; rates are each")
    trace = simfl.run(scenario, out=tmp_path / "crowd.h5", store=False)
    devices = trace.nodes.set_index("node")["device"]
    assert devices["a-1"] == platform.devices["a-1"].name
    assert devices["a-1"].startswith("phones_fedscale/")
    carried = trace.links.set_index("link")
    for node in ("a-0", "a-3"):
        radio = platform.devices[node].radio
        assert radio is not None
        # busy for the share of the run that its own rate makes of the bits carried
        bits = carried.loc[f"{node} up", "used"]
        busy = bits / radio.value / float(trace.activities["end_s"].max())
        assert carried.loc[f"{node} up", "busy"] == pytest.approx(busy, rel=0.01)
    told = json.loads(trace.attributes["device_notes"])
    assert len(told) == 1
    assert told[0].startswith("phones_fedscale: FedScale's rule, 3 x samples")
    spans = trace.activities.query("verb == 'train'").groupby("node").first()
    for node in ("a-0", "a-1"):
        took_s = spans.loc[node, "end_s"] - spans.loc[node, "start_s"]
        assert took_s == pytest.approx(platform.devices[node].seconds(Workload(samples=32)))


def test_a_shared_medium_takes_each_members_goodput() -> None:
    scenario = crowd("a: {model: phones_fedscale, count: 3}", network="{kind: shared_medium}")
    platform = check(scenario)
    air = next(link for link in platform.wiring.wires.links if link.cell)
    assert air.cell is not None
    own = [d.radio.value for n, d in platform.devices.items() if n != "server" and d.radio]
    assert air.cell.station_bps == own


def test_what_is_said_of_the_network_stands_above() -> None:
    scenario = crowd("a: {model: phones_fedscale, count: 3}", network="{kind: star, access: 3g}")
    assert check(scenario).wiring.notes == ("server has ethernet_1g (its device model's)",)


def test_a_population_is_no_device() -> None:
    assert device_names()[-2:] == ["phones_fedscale", "phones_propius"]
    with pytest.raises(CostError, match="'phones_propius' is a population, not one device"):
        load_device("phones_propius")
    with pytest.raises(CostError, match="unknown device 'phones_propus'; did you mean 'phones_pr"):
        load_device("phones_propus")


def test_two_of_one_seed_are_equal_and_a_whatif_draws_the_same(tmp_path: Path) -> None:
    scenario = crowd("a: {model: phones_propius, count: 5}")
    trace = simfl.run(scenario, out=tmp_path / "crowd.h5", store=False)
    again = simfl.whatif(trace, "platform.network.access=lte,5g")
    base = simfl.whatif(trace, "platform.network.access=wifi_5ghz")
    assert base["time_s"][0] == pytest.approx(float(trace.activities["end_s"].max()))
    assert again["time_s"][0] > again["time_s"][1]


def written(folder: Path, name: str, **changes: object) -> Path:
    """One of the packaged populations, changed, with its files beside it."""
    packaged = Path(simfl.__file__).parents[1] / "device_models" / "populations"
    for file in packaged.glob("*.csv"):
        (folder / file.name).write_text(file.read_text())
    data = yaml.safe_load((packaged / f"{name}.yaml").read_text()) | changes
    path = folder / "mine.yaml"
    kept = {k: v for k, v in data.items() if v is not None}
    path.write_text(yaml.safe_dump(kept, sort_keys=False))
    return path


def test_a_population_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path, "phones_propius")
    (tmp_path / "phones_propius.csv").write_text("device,sample_ms,ram_gb\nmy phone,10,4\n")
    scenario = crowd(f"a: {{model: {path}, count: 2}}")
    assert [d.name for d in check(scenario).devices.values()][1:] == [
        "phones_propius/my phone",
        "phones_propius/my phone",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ram": None}, "mine.yaml:1: file: give ram beside sample"),
        ({"sample": None}, "mine.yaml:1: file: give either devices or sample, and not both"),
        ({"note": None}, "mine.yaml:1: note: missing; add this key"),
        ({"memry_rate": 1}, "memry_rate: unknown key; did you mean 'memory_rate'?"),
    ],
)
def test_a_wrong_population_is_told(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = written(tmp_path, "phones_fedscale", **changes)
    with pytest.raises(SimflError) as error:
        check(crowd(f"a: {{model: {path}}}"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column quantile; give quantile, sample_ms and a line for each"),
        ("quantile,sample_ms\n", "no row; give quantile, sample_ms and a line for each"),
        ("quantile,ms\n0.5,3\n", "no column sample_ms; give quantile, sample_ms"),
        ("# mine\nquantile,sample_ms\n0.5,-3\n", "csv:3: '-3' is no number above 0"),
        ("quantile,sample_ms\n0.5,3\n0.4,4\n", "quantiles that do not rise from 0 to 1; sort"),
        ("quantile,sample_ms\n0.5,3\n1.4,4\n", "quantiles that do not rise from 0 to 1; sort"),
        ("quantile,sample_ms\n0.4,3\n0.5,2\n", "values that fall from one quantile to the next"),
    ],
)
def test_a_wrong_file_of_a_population_is_told_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, "phones_fedscale")
    (tmp_path / "fedscale_sample.csv").write_text(text)
    with pytest.raises(SimflError) as error:
        check(crowd(f"a: {{model: {path}}}"))
    assert message in str(error.value)
    assert str(error.value).startswith("crowd.yaml:")
    assert "\n" not in str(error.value)


def test_a_missing_file_of_a_population_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "phones_fedscale")
    (tmp_path / "fedscale_goodput.csv").unlink()
    with pytest.raises(SimflError, match=r"fedscale_goodput\.csv: No such file or directory"):
        check(crowd(f"a: {{model: {path}}}"))
