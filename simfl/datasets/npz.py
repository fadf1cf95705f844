"""Your own images, as arrays in a NumPy archive that the scenario names."""

from __future__ import annotations

from pathlib import Path

from simfl.datasets.arrays import ARRAYS, PARTS, owners_of, part_of, read_archive
from simfl.datasets.base import Dataset, DataSpec
from simfl.errors import DataError
from simfl.options import Options
from simfl.registry import DATASETS


class NpzOptions(Options):
    """Where it lies.

    Attributes:
        file: the ``.npz``; relative to the scenario's folder.
    """

    file: str


@DATASETS.register("npz", options=NpzOptions)
def npz(options: NpzOptions) -> DataSpec:
    """The arrays ``{train,test}_{images,labels}``, and if need be ``train_owners``.

    Images are uint8, (samples, height, width) or (samples, height, width, channels); labels whole
    numbers from 0 on; owners numbers or names, one for each training sample.
    """
    return DataSpec(name="npz", files=(), read=lambda folder: _read(folder / options.file))


def _read(path: Path) -> Dataset:
    mend = f"give numpy.savez {', '.join(ARRAYS)}"
    found = read_archive(path, ARRAYS, mend, optional=("train_owners",))
    train, test = (part_of(path, found, part) for part in PARTS)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{path}: train_images are {found['train_images'].shape[1:]}, test_images "
            f"{found['test_images'].shape[1:]}; one shape is due"
        )
    owners, names = None, tuple[str, ...]()
    if "train_owners" in found:
        given = found["train_owners"]
        if given.shape != found["train_labels"].shape or given.dtype.kind not in "iuU":
            raise DataError(
                f"{path}: train_owners is {given.dtype} {given.shape} for {len(train[1])} labels; "
                "a number or a name for each is due"
            )
        owners, names = owners_of(given)
    return Dataset(
        name="npz",
        classes=int(max(labels.max() for _, labels in (train, test))) + 1,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
        train_owners=owners,
        owner_names=names,
    )
