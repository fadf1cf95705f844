import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import simfl
from simfl.datasets.base import Dataset, DataSpec, NoOptions
from simfl.errors import DataError
from simfl.registry import DATASETS

# who wrote which labels: the training and the test set have writers of their own
TRAIN = {"w_b": [0, 61], "w_a": [10, 11, 12]}
TEST = {"w_c": [35, 36]}


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder that SIMFL_DATA names, if FEMNIST is in it."""
    folder = Path(os.environ.get("SIMFL_DATA", "/nonexistent"))
    if spec().missing_in(folder):
        pytest.skip("FEMNIST is not at hand; set SIMFL_DATA")
    return folder


def spec() -> DataSpec:
    made = DATASETS.get("femnist").build(NoOptions())
    assert isinstance(made, DataSpec)
    return made


def check(found: Dataset) -> None:
    assert (found.name, found.classes, found.sample_shape) == ("femnist", 62, (1, 28, 28))
    assert found.train_owners is not None
    assert found.owner_names == ("w_a", "w_b")
    for label, owner, image in zip(
        found.train_labels, found.train_owners, found.train_images, strict=True
    ):
        assert int(label) in TRAIN[found.owner_names[int(owner)]]
        assert image[0, 0, 0] == label
        # white paper
        assert (image[0, 1:] == 255).all()
    assert sorted(found.train_labels.tolist()) == [0, 10, 11, 12, 61]
    assert found.test_labels.tolist() == [35, 36]
    assert found.train_images.dtype == torch.uint8


# arrays --------------------------------------------------------------------------------------


def arrays(**changes: Any) -> dict[str, Any]:
    labels = [label for own in (*TRAIN.values(), *TEST.values()) for label in own]
    images = np.full((len(labels), 28, 28), 255, np.uint8)
    images[:, 0, 0] = labels
    return {
        "images": images,
        "labels": np.array(labels),
        "writer": np.array([2, 2, 0, 0, 0, 1, 1], np.int32),
        "writer_name": np.array(["w_a", "w_c", "w_b"]),
        "leaf_train": np.array([True] * 5 + [False] * 2),
    } | changes


def test_from_arrays(tmp_path: Path) -> None:
    assert spec().missing_in(tmp_path) == ["femnist.npz"]
    np.savez(tmp_path / "femnist.npz", **arrays())
    assert spec().missing_in(tmp_path) == []
    check(spec().read(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((7, 28, 27), np.uint8)}, r"train_images is uint8 \(5, 28, 27\) for 5"),
        ({"images": np.zeros((6, 28, 28), np.uint8)}, r"images is \(6, 28, 28\) for \(7,\) labels"),
        ({"images": np.zeros((7, 28, 28))}, "train_images is float64"),
        ({"labels": np.array([0, 61, 10, 11, 12, 35, 62])}, "test_labels go beyond 0 to 61"),
        ({"labels": np.zeros((7, 2), int)}, r"images is \(7, 28, 28\) for \(7, 2\) labels"),
        ({"labels": np.zeros(7)}, "train_labels is float64; whole numbers are due"),
        ({"writer": np.array([0, 0, 0, 0, 0, 0, 3])}, "writer goes beyond the 3 of writer_name"),
        ({"writer": np.zeros(7)}, "writer is float64, .*; whole numbers and a list of text"),
        ({"leaf_train": np.ones(7, int)}, "leaf_train is int64; bool is due"),
        ({"leaf_train": np.zeros(7, bool)}, r"train_images is uint8 \(0, 28, 28\) for 0 labels"),
        ({"writer_name": np.array(["a", None])}, "not a whole archive of plain arrays; lay femn"),
    ],
)
def test_arrays_that_are_something_else(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "femnist.npz", **arrays(**change))
    with pytest.raises(DataError, match=r"femnist\.npz: " + message) as told:
        spec().read(tmp_path)
    assert "\n" not in str(told.value)


# LEAF's JSON ---------------------------------------------------------------------------------


def entry(written: dict[str, list[int]]) -> dict[str, Any]:
    def pixels(label: int) -> list[float]:
        return [label / 255, *[1.0] * 783]

    return {
        "users": list(written),
        "num_samples": [len(own) for own in written.values()],
        "user_data": {
            user: {"x": [pixels(label) for label in own], "y": own} for user, own in written.items()
        },
    }


def write_leaf(root: Path, **files: Any) -> None:
    """Two files to train on, one to test on; changes replace one of them."""
    first, second = ({user: own} for user, own in TRAIN.items())
    found = {"train_0": entry(first), "train_1": entry(second), "test_0": entry(TEST)} | files
    for name, data in found.items():
        path = root / "femnist" / name.partition("_")[0] / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))


def test_from_leafs_files(tmp_path: Path) -> None:
    write_leaf(tmp_path)
    assert spec().missing_in(tmp_path) == []
    check(spec().read(tmp_path))


def test_both_forms_are_the_same(tmp_path: Path) -> None:
    write_leaf(tmp_path)
    one = spec().read(tmp_path)
    np.savez(tmp_path / "femnist.npz", **arrays())
    assert spec().read(tmp_path).digest() == one.digest()


def changed(**changes: Any) -> dict[str, Any]:
    return entry(TEST) | changes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", r"test_0\.json: not a whole file of LEAF's \(.*\); lay it out anew"),
        ("[]", "not a whole file of LEAF's"),
        (changed(num_samples=[3]), r"LEAF's \(user w_c has 2 x, 2 y of 3\)"),
        (changed(num_samples=[2, 2]), "LEAF's"),
        (changed(user_data={}), r"LEAF's \('w_c'\)"),
        (changed(user_data={"w_c": {"x": [[1.0], [1.0]], "y": [0, 1]}}), r"x of \(2, 1\)"),
        (changed(user_data={"w_c": {"x": [[1.0], 1.0], "y": [0, 1]}}), "LEAF's"),
        (changed(user_data={"w_c": {"x": [[2.0] * 784] * 2, "y": [0, 1]}}), "beyond 0 to 1"),
        (changed(user_data={"w_c": {"x": [[0.0] * 784] * 2, "y": [0.5, 1]}}), "no whole numb"),
        (changed(user_data={"w_c": {"x": [[0.0] * 784] * 2, "y": [0, 62]}}), "beyond 0 to 61"),
        ({"users": [], "num_samples": [], "user_data": {}}, "test: no sample in its"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, data: Any, message: str) -> None:
    write_leaf(tmp_path, test_0=data)
    with pytest.raises(DataError, match=message) as told:
        spec().read(tmp_path)
    assert "\n" not in str(told.value)


def test_a_user_in_two_files(tmp_path: Path) -> None:
    write_leaf(tmp_path, train_1=entry(TRAIN))
    with pytest.raises(DataError, match=r"train_1\.json: user w_b is in train_0\.json too"):
        spec().read(tmp_path)


# the real one --------------------------------------------------------------------------------


@pytest.mark.data
def test_the_real_thing(real: Path) -> None:
    found = spec().read(real)
    assert (found.train_samples, found.test_samples) == (14_708, 4088)
    assert found.train_owners is not None
    assert len(found.owner_names) == len(found.train_owners.unique()) == 105
    assert set(found.train_labels.tolist()) == set(range(62))
    # white paper: the corners
    assert float((found.train_images[:, 0, 0, 0] == 255).float().mean()) > 0.99


@pytest.mark.data
def test_a_client_for_each_writer(real: Path) -> None:
    changes = [
        "learning.dataset={name: femnist, partition: {name: by_writer, least: 100}}",
        "learning.algorithm={name: fedavg}",
        "learning.model={name: simple_cnn}",
    ]
    parts, _ = simfl.plan(simfl.load("pi_lenet", changes), data_dir=real)
    held = parts.problem.held
    assert held.of == sorted(held.of)
    assert len(set(held.of)) == 10
    assert min(held.sizes) >= 100
    assert parts.located.dataset.owner_names[0] in held.of
