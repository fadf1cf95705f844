"""CelebA, from a small folder laid out as torchvision's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import simfl
from simfl.datasets.base import Dataset
from simfl.errors import DataError, ScenarioError
from simfl.partitions.by_writer import ByWriterOptions, by_writer
from simfl.registry import DATASETS

ATTRIBUTES = ("Bald", "Male", "Young")
# celebrity, partition, Male, shade of grey: an image for each
FACES = [
    *((30, 0, 1, 10), (4, 0, -1, 20), (30, 0, 1, 30), (4, 0, -1, 40), (100, 0, 1, 50)),
    *((30, 0, 1, 60), (8, 1, 1, 70), (8, 1, 1, 80), (7, 2, -1, 90), (9, 2, 1, 100)),
    *((7, 2, -1, 110), (9, 2, 1, 120), (2, 2, 1, 130)),
]


def name_of(number: int) -> str:
    return f"{number:06}.jpg"


def lay_out(root: Path) -> Path:
    """The folder ``celeba``; images are 18 x 22, the upper and lower two rows white."""
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows: dict[str, list[str]] = {
        # the official heads: a count, and names with a space after the last
        "list_attr_celeba.txt": [str(len(FACES)), " ".join(ATTRIBUTES) + " "],
        "list_bbox_celeba.txt": [str(len(FACES)), "image_id x_1 y_1 width height"],
        "list_landmarks_align_celeba.txt": [str(len(FACES)), "lefteye_x lefteye_y"],
        "list_eval_partition.txt": [],
        "identity_CelebA.txt": [],
    }
    for number, (celebrity, part, male, shade) in enumerate(FACES, 1):
        name = name_of(number)
        rows["list_attr_celeba.txt"].append(f"{name} -1 {male:2}  1")
        rows["list_bbox_celeba.txt"].append(f"{name}    95  71 226 313")
        rows["list_landmarks_align_celeba.txt"].append(f"{name} 69  109")
        rows["list_eval_partition.txt"].append(f"{name} {part}")
        rows["identity_CelebA.txt"].append(f"{name} {celebrity}")
        face = Image.new("RGB", (18, 22), (255, 255, 255))
        face.paste((shade, shade, 0), (0, 2, 18, 20))
        face.save(folder / "img_align_celeba" / name, quality=100, subsampling=0)
    for file, lines in rows.items():
        (folder / file).write_text("\n".join(lines) + "\n")
    return folder


def read(root: Path, **options: Any) -> Dataset:
    plugin = DATASETS.get("celeba")
    found = plugin.build(plugin.options(**({"size": 6, "least_per_owner": 1} | options))).read(root)
    assert isinstance(found, Dataset)
    return found


def shades(images: torch.Tensor) -> list[int]:
    """Of the middle, to tens: JPEG loses a little."""
    return [round(int(image[0, 3, 3]) / 10) * 10 for image in images]


def test_the_official_partition_by_celebrity(tmp_path: Path) -> None:
    lay_out(tmp_path)
    found = read(tmp_path)
    assert (found.name, found.classes, found.sample_shape) == ("celeba", 2, (3, 6, 6))
    assert found.train_images.dtype == torch.uint8
    assert shades(found.train_images) == [10, 20, 30, 40, 50, 60]
    assert found.train_labels.tolist() == [1, 0, 1, 0, 1, 1]
    assert found.train_labels.dtype == torch.int64
    assert shades(found.test_images) == [90, 100, 110, 120, 130]
    assert found.test_labels.tolist() == [0, 1, 0, 1, 1]
    # by number, which is the order of the names too
    assert found.owner_names == ("00004", "00030", "00100")
    assert found.train_owners is not None
    assert found.train_owners.tolist() == [1, 0, 1, 0, 2, 1]
    shares = by_writer(ByWriterOptions(), found, 2, seed=1)
    assert [(share.writer, share.samples.tolist()) for share in shares] == [
        ("00004", [1, 3]),
        ("00030", [0, 2, 5]),
    ]


def test_channels_are_red_green_and_blue(tmp_path: Path) -> None:
    lay_out(tmp_path)
    red, green, blue = read(tmp_path).test_images[4, :, 3, 3].tolist()
    assert (red, green) == (pytest.approx(130, abs=3),) * 2
    assert blue < 5


def test_which_celebrities(tmp_path: Path) -> None:
    lay_out(tmp_path)
    two = read(tmp_path, least_per_owner=2)
    assert two.owner_names == ("00004", "00030")
    assert two.test_samples == 4
    three = read(tmp_path, owners=1, test_owners=2)
    assert three.owner_names == ("00004",)
    assert shades(three.train_images) == [20, 40]
    # of 2 and 7
    assert shades(three.test_images) == [90, 110, 130]
    assert read(tmp_path, owners=99).digest() == read(tmp_path).digest()


def test_another_attribute_makes_other_classes(tmp_path: Path) -> None:
    lay_out(tmp_path)
    assert read(tmp_path, attribute="Young").train_labels.tolist() == [1] * 6
    assert read(tmp_path, attribute="Bald").test_labels.tolist() == [0] * 5
    with pytest.raises(DataError, match=r"attr_celeba\.txt: no attribute 'Mael'; did you .*'Male'"):
        read(tmp_path, attribute="Mael")


def test_squeezed_or_cut(tmp_path: Path) -> None:
    """22 rows, of which two above and two below are white: cut to 18, none is left."""
    lay_out(tmp_path)
    assert int(read(tmp_path, size=22).train_images[0, 0, 0, 9]) > 240
    cut = read(tmp_path, size=18, crop="square").train_images[0, 0]
    # JPEG smears a little beyond the border
    assert float(cut[1:-1].float().mean()) == pytest.approx(10, abs=5)
    assert int(cut.max()) < 120


def test_a_grey_image_is_made_rgb(tmp_path: Path) -> None:
    path = lay_out(tmp_path) / "img_align_celeba" / name_of(1)
    Image.new("L", (18, 22), 200).save(path)
    assert (read(tmp_path).train_images[0].int() - 200).abs().max() < 4


def rewrite(file: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def fault(folder: Path) -> None:
        path = folder / file
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return fault


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    return rewrite(file, lambda lines: [line.replace(old, new) for line in lines])


def remove(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def cut_short(folder: Path) -> None:
    path = folder / "img_align_celeba" / name_of(10)
    path.write_bytes(path.read_bytes()[:300])


PARTITION, IDENTITY, ATTR = (
    *("list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt"),
)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        *((remove(f), rf"{f}: no such file; lay celeba out anew") for f in (PARTITION, IDENTITY)),
        (remove("list_bbox_celeba.txt"), r"list_bbox_celeba\.txt: no such file; lay"),
        (
            remove("img_align_celeba/000002.jpg"),
            r"celeba/000002\.jpg: no such file, which list_eval_partition\.txt lists \(1 are miss",
        ),
        (cut_short, r"000010\.jpg: not a whole image; mend it, or lay celeba out anew"),
        (
            rewrite(IDENTITY, lambda lines: lines[:-1]),
            rf"{IDENTITY}: 12 images, and list_eval_partition\.txt has 13; lay",
        ),
        (
            rewrite(ATTR, lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]]),
            rf"{ATTR}: '000003\.jpg' where list_eval_partition\.txt has '000002\.jpg'; lay",
        ),
        (replace(PARTITION, "jpg 1", "jpg 3"), rf"{PARTITION}: has a value 3, where 0 or 1 or 2"),
        (replace(ATTR, " -1", " 0"), rf"{ATTR}: has a value 0, where -1 or 1 is due"),
        (replace(ATTR, "jpg -1", "jpg"), rf"{ATTR}: 3 to a line, beside the image's name, is due"),
        (replace(IDENTITY, " ", " 1 "), rf"{IDENTITY}: 1 to a line, beside the"),
        (replace(IDENTITY, " 30", ""), rf"{IDENTITY}: 1 to a line, beside the"),
        (replace(IDENTITY, " 4", ""), rf"{IDENTITY}: not one of CelebA's lists \(.*\); lay"),
        (replace(IDENTITY, " 30", " x"), rf"{IDENTITY}: not one of CelebA's lists \(invalid lit"),
        (replace(IDENTITY, " 30", " 9" + 30 * "9"), rf"{IDENTITY}: not one of CelebA's lists \("),
        (rewrite(PARTITION, lambda _: []), rf"{PARTITION}: not one of CelebA's lists"),
        (rewrite(ATTR, lambda lines: lines[:1]), rf"{ATTR}: not one of CelebA's lists"),
        (
            replace(PARTITION, "jpg 2", "jpg 1"),
            rf"{PARTITION}: no test image of a celebrity with at least 1; lay celeba out anew, or",
        ),
    ],
)
def test_faults(tmp_path: Path, fault: Callable[[Path], None], message: str) -> None:
    fault(lay_out(tmp_path))
    with pytest.raises(DataError, match=message) as told:
        read(tmp_path)
    assert "\n" not in str(told.value)


def test_the_images_of_those_left_out_need_not_be_there(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    (folder / "img_align_celeba" / name_of(5)).unlink()
    assert read(tmp_path, owners=2).train_samples == 5


def test_an_empty_list(tmp_path: Path) -> None:
    (lay_out(tmp_path) / PARTITION).write_text("")
    with pytest.raises(DataError, match=rf"{PARTITION}: "):
        read(tmp_path)


def test_what_is_missing_is_known_before_anything_is_read(tmp_path: Path) -> None:
    spec = DATASETS.get("celeba").build(DATASETS.get("celeba").options())
    assert len(spec.missing_in(tmp_path)) == 6
    folder = lay_out(tmp_path)
    assert spec.missing_in(tmp_path) == []
    for path in (folder / "img_align_celeba").iterdir():
        path.unlink()
    assert spec.missing_in(tmp_path) == ["celeba/img_align_celeba/*.jpg"]


def test_in_a_scenario(tmp_path: Path, scenario_text: str) -> None:
    lay_out(tmp_path)
    (tmp_path / "mine.yaml").write_text(scenario_text)
    data = "{name: celeba, size: 28, least_per_owner: 1, owners: 3, partition: by_writer}"
    changes = [
        f"learning.dataset={data}",
        *("learning.algorithm={name: fedavg}", "learning.model={name: autoprune_conv}"),
        *("protocol.rounds=1", "stop={}"),
    ]
    scenario = simfl.load(tmp_path / "mine.yaml", changes)
    trace = simfl.run(
        scenario, data_dir=tmp_path, out=tmp_path / "run.h5", store=False, executor="inline"
    )
    assert trace.dataset["held"]["of"] == ["00004", "00030", "00100"]
    assert trace.dataset["held"]["sizes"] == [2, 3, 1]
    wrong = "learning.dataset={name: celeba, size: 0}"
    with pytest.raises(ScenarioError, match=r"dataset\.size: 0 is out of range"):
        simfl.load(tmp_path / "mine.yaml", [wrong])
