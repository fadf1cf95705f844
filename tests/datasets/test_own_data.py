"""A user's own images: arrays, and files in folders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import simfl
from simfl.datasets.base import Dataset
from simfl.errors import DataError, ScenarioError
from simfl.fitting import images_of
from simfl.registry import DATASETS


def read(name: str, root: Path, /, **options: Any) -> Dataset:
    plugin = DATASETS.get(name)
    found = plugin.build(plugin.options(**options)).read(root)
    assert isinstance(found, Dataset)
    return found


# arrays --------------------------------------------------------------------------------------


def arrays(**changes: Any) -> dict[str, Any]:
    """Six and three images of 4 x 5, in four classes."""
    draw = np.random.default_rng(1)
    made = {
        "train_images": draw.integers(0, 256, (6, 4, 5), np.uint8),
        "train_labels": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "test_images": draw.integers(0, 256, (3, 4, 5), np.uint8),
        "test_labels": np.array([0, 1, 3]),
    } | changes
    return {name: array for name, array in made.items() if array is not None}


def test_arrays_of_grey_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays())
    found = read("npz", tmp_path, file="own.npz")
    assert (found.classes, found.sample_shape) == (4, (1, 4, 5))
    assert torch.equal(found.train_images[:, 0], torch.from_numpy(arrays()["train_images"]))
    assert found.train_labels.dtype == torch.int64
    assert found.train_owners is None


def test_arrays_of_colour_images(tmp_path: Path) -> None:
    counts = {"train_images": 6, "test_images": 3}
    colour = {name: np.zeros((count, 4, 5, 3), np.uint8) for name, count in counts.items()}
    colour["train_images"][:, 0, 1, 2] = 9
    np.savez_compressed(tmp_path / "own.npz", **arrays(**colour))
    found = read("npz", tmp_path, file="own.npz")
    assert found.sample_shape == (3, 4, 5)
    assert found.train_images[:, 2, 0, 1].tolist() == [9] * 6


@pytest.mark.parametrize(
    ("owners", "names"),
    [
        (np.array([10, 9, 9, 10, 10, 9]), ("9", "10")),
        (np.array(["zoe", "ann", "ann", "zoe", "zoe", "ann"]), ("ann", "zoe")),
    ],
)
def test_owners(tmp_path: Path, owners: Any, names: tuple[str, ...]) -> None:
    np.savez(tmp_path / "plain.npz", **arrays())
    np.savez(tmp_path / "own.npz", **arrays(train_owners=owners))
    found = read("npz", tmp_path, file="own.npz")
    assert found.owner_names == names
    assert found.train_owners is not None
    assert found.train_owners.tolist() == [1, 0, 0, 1, 1, 0]
    assert found.digest() != read("npz", tmp_path, file="plain.npz").digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": None}, "lacks the array test_labels; give numpy.savez train_images"),
        ({"train_images": np.zeros((6, 4, 5))}, r"train_images is float64 \(6, 4, 5\) for 6"),
        ({"train_images": np.zeros((5, 4, 5), np.uint8)}, r"uint8 \(5, 4, 5\) for 6 labels"),
        ({"train_images": np.zeros((6, 3, 8, 8), np.uint8)}, r"\(6, 3, 8, 8\) .* width\[, chann"),
        (
            {"train_images": np.zeros((6, 20), np.uint8)},
            r"uint8 \(6, 20\) for 6 labels; uint8 \(",
        ),
        ({"test_images": np.zeros((3, 4, 4), np.uint8)}, r"\(4, 5\), test_images \(4, 4\); one sh"),
        ({"train_labels": np.zeros((6, 3), int)}, r"beside labels \(6, 3\)"),
        ({"train_labels": np.zeros(6)}, "train_labels is float64; whole numbers are due"),
        ({"train_labels": np.array([0, 1, 2, -1, 0, 0])}, "train_labels go beyond 0 and up"),
        ({"train_labels": np.array(list("abcabc"), object)}, "not a whole archive of plain arr"),
        ({"train_owners": np.array([1, 2])}, r"train_owners is int64 \(2,\) for 6 labels"),
        ({"train_owners": np.zeros(6)}, "train_owners is float64"),
    ],
)
def test_arrays_that_are_something_else(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "own.npz", **arrays(**change))
    with pytest.raises(DataError, match=r"own\.npz: .*" + message) as told:
        read("npz", tmp_path, file="own.npz")
    assert "\n" not in str(told.value)


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own\.npz: no such file; give numpy\.savez"):
        read("npz", tmp_path, file="own.npz")
    (tmp_path / "own.npz").write_text("hello")
    with pytest.raises(DataError, match=r"own\.npz: not a whole archive"):
        read("npz", tmp_path, file="own.npz")
    np.save(tmp_path / "own.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"own\.npy: not a whole archive"):
        read("npz", tmp_path, file="own.npy")
    with pytest.raises(DataError, match="not a whole archive"):
        read("npz", tmp_path, file=".")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_that_is_cut_or_altered(tmp_path: Path, save: Any, share: float) -> None:
    path = tmp_path / "own.npz"
    noise = np.random.default_rng(1).integers(0, 256, (6, 40, 50), np.uint8)
    save(path, **arrays(train_images=noise, test_images=noise[:3]))
    whole = path.read_bytes()
    at = int(len(whole) * share)
    path.write_bytes(whole[:at])
    with pytest.raises(DataError, match=r"own\.npz: not a whole archive"):
        read("npz", tmp_path, file="own.npz")
    path.write_bytes(whole[:2000] + bytes(32) + whole[2032:])
    with pytest.raises(DataError, match=r"own\.npz: not a whole archive"):
        read("npz", tmp_path, file="own.npz")


# folders -------------------------------------------------------------------------------------


def write_images(root: Path) -> None:
    """Two classes: red of 8 x 8, and blue of 6 x 12 in several modes."""
    for part, count in (("train", 3), ("test", 2)):
        for name, colour, size in (("red", (255, 0, 0), (8, 8)), ("blue", (0, 0, 255), (6, 12))):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", size, colour).save(folder / f"{i}.png")
    Image.new("L", (5, 5), 255).save(root / "train" / "blue" / "grey.png")


def test_images_in_folders(tmp_path: Path) -> None:
    write_images(tmp_path / "own")
    found = read("image_folder", tmp_path, folder="own", size=4)
    assert (found.classes, found.sample_shape) == (2, (3, 4, 4))
    # blue before red, by name
    assert found.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert found.test_labels.tolist() == [0, 0, 1, 1]
    assert found.train_images.dtype == torch.uint8
    assert (
        found.train_images[:, :, 2, 2].tolist()
        == [[0, 0, 255]] * 3 + [[255] * 3] + [[255, 0, 0]] * 3
    )
    grey = read("image_folder", tmp_path, folder="own", size=4, channels=1)
    assert grey.sample_shape == (1, 4, 4)
    assert grey.test_images.unique().tolist() == [29, 76]


def test_faults_of_a_folder(tmp_path: Path) -> None:
    def told() -> str:
        with pytest.raises(DataError) as error:
            read("image_folder", tmp_path, folder="own", size=4)
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(f"{tmp_path}/own/")

    assert told() == "train: no such folder; put the images of each class into a folder there"
    write_images(tmp_path / "own")
    broken = tmp_path / "own" / "test" / "red" / "1.png"
    whole = broken.read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        broken.write_bytes(content)
        assert told() == "test/red/1.png: not a whole image; mend or remove it"
    for path in broken.parent.iterdir():
        path.unlink()
    assert told().startswith("test: Found no valid file for the classes red")
    broken.parent.rmdir()
    assert told() == "test: no folder red; train and test need the same classes"
    (tmp_path / "own" / "test" / "green").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "own" / "test" / "green" / "0.png")
    assert told() == "train: no folder green; train and test need the same classes"


# in a scenario -------------------------------------------------------------------------------


def test_paths_are_relative_to_the_scenario_also_later(
    tmp_path: Path, scenario_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    draw = np.random.default_rng(1)
    np.savez(
        home / "own.npz",
        train_images=draw.integers(0, 256, (60, 28, 28), np.uint8),
        train_labels=np.arange(60) % 3,
        test_images=draw.integers(0, 256, (12, 28, 28), np.uint8),
        test_labels=np.arange(12) % 3,
        train_owners=np.arange(60) // 12,
    )
    data = "{name: npz, file: own.npz, partition: by_writer}"
    text = scenario_text.replace("{name: digits}", data).replace("rounds: 10", "rounds: 2")
    (home / "mine.yaml").write_text(text)
    changes = [
        *("learning.algorithm={name: fedavg}", "learning.model={name: simple_cnn}", "stop={}"),
    ]
    out = tmp_path / "run.h5"
    ours: dict[str, Any] = {"store": False, "executor": "inline"}
    trace = simfl.run(simfl.load(home / "mine.yaml", changes), out=out, **ours)
    assert trace.dataset["held"]["of"] == ["0", "1", "2"]
    assert trace.dataset["held"]["sizes"] == [12, 12, 12]
    # from elsewhere
    monkeypatch.chdir(tmp_path)
    [row] = simfl.whatif(trace, "protocol.rounds=3", train=True, **ours).to_dict("records")
    assert row["anew"] == 2
    [row] = simfl.whatif(trace, "codec={name: dense}").to_dict("records")
    assert row["anew"] == 0
    with pytest.raises(ScenarioError, match="another than npz, which is recorded"):
        simfl.whatif(trace, "learning.dataset.file=other.npz")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("{name: npz}", "learning.dataset.file: missing; add this key"),
        (
            "{name: npz, flie: a.npz, file: b.npz}",
            "learning.dataset.flie: unknown key; did you mean 'file'?",
        ),
        (
            "{name: image_folder, folder: a, size: 0}",
            "learning.dataset.size: 0 is out of range; give a value at least 1",
        ),
        (
            "{name: image_folder, folder: a, size: 8, channels: 2}",
            "learning.dataset.channels: 2 is not known here; use 1 or 3",
        ),
        (
            "{name: mnist, fallback: npz}",
            "learning.dataset.fallback: 'npz' has options of its own; name one without, such as "
            "digits",
        ),
    ],
)
def test_what_a_scenario_cannot_say(choice: str, message: str) -> None:
    with pytest.raises(ScenarioError) as told:
        simfl.load("pi_lenet", [f"learning.dataset={choice}"])
    assert f"learning.dataset={choice}: {message}" in str(told.value).splitlines()


def test_what_fits_needs_no_files() -> None:
    with pytest.raises(ScenarioError, match="--dataset npz: has options; give --input and --clas"):
        images_of("npz", None)
