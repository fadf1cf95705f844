from pathlib import Path

import pytest

from simfl.answers import read_devices, read_learnt, read_name, read_network
from simfl.errors import CostError, ScenarioError
from simfl.registry import NETWORKS


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    title, path = read_name(str(tmp_path / "demo"))
    assert (title, path) == ("demo", tmp_path / "demo.yaml")
    path.write_text("mine")
    for name in ("demo", "demo.yaml"):
        with pytest.raises(ScenarioError, match=r"exists already; give another name"):
            read_name(str(tmp_path / name))


@pytest.mark.parametrize("name", ["", "-x", "a b", "no/such/folder/demo"])
def test_not_a_name(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"not a name|there is no folder no/such/folder"):
        read_name(name)


def test_data_of_ones_own_is_named_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npz").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "studies").mkdir()
    # as the scenario's folder sees it
    archive = read_learnt("mine.npz lenet5", Path("studies"))
    assert (archive.dataset, archive.options) == ("npz", {"file": "../mine.npz"})
    assert archive.model == "lenet5"
    images = read_learnt("./photos")
    assert (images.dataset, images.options) == ("image_folder", {"folder": "photos", "size": 32})
    with pytest.raises(ScenarioError, match="no such file"):
        read_learnt("theirs.npz")
    with pytest.raises(ScenarioError, match="give the file or folder itself"):
        read_learnt("npz")


def test_names_are_mended() -> None:
    with pytest.raises(ScenarioError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        read_learnt("mnits")
    with pytest.raises(ScenarioError, match="unknown model 'lenet6'; did you mean 'lenet5'"):
        read_learnt("mnist lenet6")
    with pytest.raises(CostError, match="did you mean 'pi4'"):
        read_devices("5 pi9")
    with pytest.raises(ScenarioError, match="unknown network 'lge'; did you mean 'lte'"):
        read_network("lge")


def test_groups_of_devices() -> None:
    assert read_devices("5 pi3,12 x pi4") == {"pi3": ("pi3", 5), "pi4": ("pi4", 12)}
    assert read_devices("100 phones_fedscale") == {"phones_fedscale": ("phones_fedscale", 100)}
    for text in ("0 pi4", "", "5 pi3 pi4", "pi4,,"):
        with pytest.raises(ScenarioError, match="write COUNT DEVICE"):
            read_devices(text)
    with pytest.raises(ScenarioError, match="'pi4' stands twice"):
        read_devices("pi4, 3 pi4")


def test_networks_by_kind_link_or_rate() -> None:
    assert read_network("star") == ("star", {})
    assert read_network("5g") == ("star", {"access": "5g"})
    assert read_network("1 MB/s")[1] == {"down": "8 Mbit/s", "up": "8 Mbit/s"}
    with pytest.raises(ScenarioError, match="'parsec' is no unit"):
        read_network("3 parsec")
    kinds = set(NETWORKS.names()) - {"file"}
    assert {read_network(kind)[0] for kind in kinds} == kinds
