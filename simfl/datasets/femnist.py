"""FEMNIST: characters in 62 classes, 28 x 28 grey, by writer. Source: Caldas et al. 2018 (LEAF)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simfl.datasets.arrays import PARTS, Array, owners_of, part_of, read_archive
from simfl.datasets.base import Dataset, DataSpec, NoOptions
from simfl.datasets.leaf import read_leaf
from simfl.errors import DataError
from simfl.registry import DATASETS

_ARCHIVE: Final = "femnist.npz"
_EACH: Final = ("images", "labels", "writer", "leaf_train")
_SIDE: Final = 28
_CLASSES: Final = 62
_MEND: Final = "lay femnist out anew"


@DATASETS.register("femnist", options=NoOptions)
def femnist(_options: NoOptions) -> DataSpec:
    """From the arrays in ``femnist.npz``, else from LEAF's ``femnist/{train,test}/*.json``.

    The arrays are ``images``, uint8 (samples, 28, 28); ``labels``, ``writer`` (an index into
    ``writer_name``) and ``leaf_train`` (whether it is for training), one for each sample. White
    paper is 255. Classes are the digits, then capital and small letters.
    """
    return DataSpec(
        name="femnist",
        files=(_ARCHIVE,),
        or_files=("femnist/train/*.json", "femnist/test/*.json"),
        read=_read,
    )


def _read(root: Path) -> Dataset:
    path = root / _ARCHIVE
    if path.is_file():
        found, writers = _archive(path)
    else:
        path, found = root / "femnist", {}
        for part in reversed(PARTS):
            found[f"{part}_images"], found[f"{part}_labels"], writers = read_leaf(
                path / part, _SIDE, _SIDE
            )
    train, test = (
        part_of(path, found, part, shape=(_SIDE, _SIDE), classes=_CLASSES) for part in PARTS
    )
    owners, names = owners_of(writers)
    return Dataset(
        name="femnist",
        classes=_CLASSES,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
        train_owners=owners,
        owner_names=names,
    )


def _archive(path: Path) -> tuple[dict[str, Array], Array]:
    """Images and labels by part, and the writers' names of the training set."""
    found = read_archive(path, (*_EACH, "writer_name"), _MEND)
    images, labels, writer, to_train = (found[name] for name in _EACH)
    names = found["writer_name"]
    for name in _EACH:
        if found[name].shape[:1] != labels.shape or (name != "images" and found[name].ndim != 1):
            raise DataError(
                f"{path}: {name} is {found[name].shape} for {labels.shape} labels; {_MEND}"
            )
    if to_train.dtype != bool:
        raise DataError(f"{path}: leaf_train is {to_train.dtype}; bool is due; {_MEND}")
    if writer.dtype.kind not in "iu" or names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"{path}: writer is {writer.dtype}, writer_name {names.dtype} {names.shape}; whole "
            f"numbers and a list of text are due; {_MEND}"
        )
    if not len(writer) or writer.min() < 0 or writer.max() >= len(names):
        raise DataError(f"{path}: writer goes beyond the {len(names)} of writer_name; {_MEND}")
    parts = {"train": to_train, "test": ~to_train}
    split = {f"{part}_images": images[chosen] for part, chosen in parts.items()}
    split |= {f"{part}_labels": labels[chosen] for part, chosen in parts.items()}
    return split, names[writer[to_train]]
