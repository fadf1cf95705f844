from pathlib import Path

import pytest

from simfl.cost.figures import GRADES
from simfl.cost.preset import LinkPreset, load_preset, preset_names
from simfl.errors import CostError

NAMED = pytest.mark.parametrize("name", preset_names())


def test_the_links_of_the_field_are_there() -> None:
    assert {
        *("3g", "5g", "adsl", "cable", "ethernet_100", "ethernet_1g", "fibre", "lora", "lte"),
        *("nb_iot", "wifi_5ghz", "wifi_pi_2.4ghz"),
    } <= set(preset_names())


@NAMED
def test_a_preset_has_its_files_name_and_a_source_for_every_number(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert len(preset.figures) >= 5
    for figure in preset.figures:
        assert figure.kind in GRADES
        assert len(figure.source) > 10
        assert figure.kind != "derived" or figure.note


def goodput_bps(preset: LinkPreset) -> float:
    """Of one TCP connection alone, its acknowledgements aside."""
    packet = 1500 + preset.overhead_bytes.value
    if preset.down:
        return preset.down.value * 1448 / packet
    assert preset.phy
    assert preset.channel_access
    assert preset.aggregation
    packets = preset.aggregation.value
    air_s = preset.channel_access.value + packets * 8 * packet / preset.phy.value
    return packets * 8 * 1448 / air_s


@pytest.mark.parametrize(
    ("name", "measured_bps", "within"),
    [
        ("ethernet_1g", 941e6, 0.002),  # iperf3 on Raspberry Pis 4 and 5 (mpr-projects, 2023)
        ("lte", 117.2e6, 0.001),
        ("5g", 117.6e6, 0.001),
        ("wifi_pi_2.4ghz", 58e6, 0.12),  # MagPi; without acknowledgements on the air it is more
    ],
)
def test_goodput_is_what_was_measured(name: str, measured_bps: float, within: float) -> None:
    assert goodput_bps(load_preset(name)) == pytest.approx(measured_bps, rel=within)


def test_an_unknown_preset_tells_the_nearest() -> None:
    with pytest.raises(CostError, match="unknown link preset 'ltee'; did you mean 'lte'"):
        load_preset("ltee")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "device_models" / "links" / "lte.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("121.4 Mbit/s", "50 Mbit/s"))
    found = load_preset("mine.yaml", tmp_path)
    assert found.down is not None
    assert found.down.value == 50e6
    (tmp_path / "bad.yaml").write_text(text.replace("121.4 Mbit/s", "50"))
    with pytest.raises(CostError) as error:
        load_preset("bad.yaml", tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'bad.yaml'}:5: down.value: 50 has no unit")
    (tmp_path / "half.yaml").write_text(text.replace("up:\n", "down_too:\n"))
    with pytest.raises(CostError, match=r"half\.yaml:.*down_too: unknown key"):
        load_preset("half.yaml", tmp_path)
