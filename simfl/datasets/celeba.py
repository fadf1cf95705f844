"""CelebA: 202,599 faces of 10,177 celebrities, RGB, in two classes of one attribute, by celebrity.

Source: Liu et al. 2015, "Deep learning face attributes in the wild"; dealt out by celebrity as in
LEAF (Caldas et al. 2018).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from simfl.datasets.base import Dataset, DataSpec
from simfl.errors import DataError, did_you_mean
from simfl.options import Options, Positive
from simfl.registry import DATASETS
from simfl.vision import torchvision

_FOLDER: Final = "celeba"
_PARTITION: Final = "list_eval_partition.txt"
_IDENTITY: Final = "identity_CelebA.txt"
_ATTRIBUTES: Final = "list_attr_celeba.txt"
_LISTS: Final = (
    *(_PARTITION, _IDENTITY, _ATTRIBUTES),
    *("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"),
)
_IMAGES: Final = "img_align_celeba"
_TRAIN, _TEST = 0, 2  # in the list; 1 is for validation
_DIGITS: Final = 5  # of a celebrity's number: names then sort as numbers do
_MEND: Final = "lay celeba out anew"


class CelebAOptions(Options):
    """What is told apart, of whom, and at what size.

    Attributes:
        attribute: that makes the two classes, as the head of ``list_attr_celeba.txt`` has it; who
            has it is class 1.
        size: height and width, in pixels; of the aligned images, 218 x 178.
        crop: ``none`` squeezes them, as LEAF's code does; ``square`` takes the 178 x 178 in the
            middle.
        least_per_owner: celebrities with fewer images are left out (LEAF: 5).
        owners: celebrities of the training set, the first by number; left out, all.
        test_owners: those of the test set, who are others; left out, all.
    """

    attribute: str = "Male"
    size: Annotated[int, Field(ge=1, le=218)] = 84
    crop: Literal["none", "square"] = "none"
    least_per_owner: Positive = 5
    owners: Positive | None = None
    test_owners: Positive | None = None


@DATASETS.register("celeba", options=CelebAOptions)
def celeba(options: CelebAOptions) -> DataSpec:
    """From torchvision's ``celeba``: its lists and the folder of aligned images.

    The official partition trains and tests on different celebrities; its part for validation is
    left out.
    """
    files = *(f"{_FOLDER}/{name}" for name in _LISTS), f"{_FOLDER}/{_IMAGES}/*.jpg"
    return DataSpec(name="celeba", files=files, read=lambda root: _read(root, options))


def _read(root: Path, options: CelebAOptions) -> Dataset:
    found = _listed(root)
    names = _names(found.attr_names)
    if options.attribute not in names:
        mend = did_you_mean(options.attribute, names)
        path = root / _FOLDER / _ATTRIBUTES
        raise DataError(f"{path}: no attribute '{options.attribute}'; {mend}")
    labels = found.attr[:, names.index(options.attribute)].long()
    chosen = {
        part: _chosen(found, number, options.least_per_owner, first)
        for part, number, first in (
            ("train", _TRAIN, options.owners),
            ("test", _TEST, options.test_owners),
        )
    }
    for part, samples in chosen.items():
        if not len(samples):
            raise DataError(
                f"{root / _FOLDER / _PARTITION}: no {part} image of a celebrity with at least "
                f"{options.least_per_owner}; {_MEND}, or lower learning.dataset.least_per_owner"
            )
    _all_there(root, found, torch.cat(list(chosen.values())))
    train, test = (_images(root, found, samples, options) for samples in chosen.values())
    known, owners = found.identity[chosen["train"], 0].unique(return_inverse=True)
    return Dataset(
        name="celeba",
        classes=2,
        train_images=train,
        train_labels=labels[chosen["train"]],
        test_images=test,
        test_labels=labels[chosen["test"]],
        train_owners=owners,
        owner_names=tuple(f"{number:0{_DIGITS}}" for number in known.tolist()),
    )


def _listed(root: Path) -> Any:
    """All images as torchvision lists them, not read yet, and their ``partition``.

    torchvision takes the official files alone, by their MD5, and then believes that their lines
    belong together; here any files will do whose lines do.
    """
    base: Any = torchvision().datasets.CelebA

    class Listed(base):  # type: ignore[misc]
        """Every list is held to the first."""

        index: list[str]

        def _check_integrity(self) -> bool:
            return True

        def _load_csv(self, filename: str, header: int | None = None) -> Any:
            path = root / _FOLDER / filename
            try:
                found = super()._load_csv(filename, header)
            except FileNotFoundError as error:
                raise DataError(f"{path}: no such file; {_MEND}") from error
            except (OSError, ValueError, IndexError, RuntimeError, csv.Error) as error:
                said = str(error).partition("\n")[0]
                raise DataError(f"{path}: not one of CelebA's lists ({said}); {_MEND}") from error
            self.index = found.index if filename == _PARTITION else self.index
            _check_list(path, found, self.index)
            if filename == _PARTITION:
                self.partition = found.data[:, 0]
            return found

    return Listed(str(root), split="all")


def _check_list(path: Path, found: Any, images: list[str]) -> None:
    """Whether a list has a line for every image, in the same order, and values that can be."""
    if found.index != images:
        pairs = zip(found.index, images, strict=False)
        at = next((i for i, (own, due) in enumerate(pairs) if own != due), -1)
        told = f"'{found.index[at]}' where {_PARTITION} has '{images[at]}'"
        lengths = f"{len(found.index)} images, and {_PARTITION} has {len(images)}"
        raise DataError(f"{path}: {told if at >= 0 else lengths}; {_MEND}")
    if path.name not in (_PARTITION, _IDENTITY, _ATTRIBUTES):
        return  # torchvision asks for it, and nobody looks at it
    numbers = len(_names(found.header)) or 1
    if found.data.shape != (len(images), numbers):
        raise DataError(f"{path}: {numbers} to a line, beside the image's name, is due; {_MEND}")
    values = {_PARTITION: (0, 1, 2), _ATTRIBUTES: (-1, 1)}.get(path.name)
    odd = [value for value in found.data.unique().tolist() if values and value not in values]
    if values and odd:
        due = " or ".join(map(str, values))
        raise DataError(f"{path}: has a value {odd[0]}, where {due} is due; {_MEND}")


def _names(header: list[str]) -> list[str]:
    """Of the columns; the official list ends its head with a space."""
    return [name for name in header if name]


def _chosen(found: Any, number: int, least: int, first: int | None) -> Tensor:
    """The images of one part, of those with enough of them, of the first celebrities."""
    identity = found.identity[:, 0]
    _, owner, images = identity.unique(return_inverse=True, return_counts=True)
    mine = (found.partition == number) & (images[owner] >= least)
    owners = identity[mine].unique()[:first]
    chosen: Tensor = (mine & torch.isin(identity, owners)).nonzero()[:, 0]
    return chosen


def _all_there(root: Path, found: Any, chosen: Tensor) -> None:
    """Whether the folder has them, told before many are read."""
    folder = root / _FOLDER / _IMAGES
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    names = (found.filename[at] for at in chosen.tolist())
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"{folder / missing[0]}: no such file, which {_PARTITION} lists ({len(missing)} are "
            f"missing); unpack {_IMAGES}.zip there anew"
        )


def _images(root: Path, found: Any, chosen: Tensor, options: CelebAOptions) -> Tensor:
    from torchvision import transforms

    size = options.size
    steps = [
        transforms.Lambda(lambda image: image.convert("RGB")),
        transforms.Lambda(lambda image: transforms.functional.center_crop(image, min(image.size))),
        transforms.Resize((size, size)),
        transforms.PILToTensor(),
    ]
    if options.crop == "none":
        del steps[1]
    found.transform = transforms.Compose(steps)
    images = torch.empty(len(chosen), 3, size, size, dtype=torch.uint8)
    for to, at in enumerate(chosen.tolist()):
        try:
            images[to] = found[at][0]
        except Exception as error:
            # Pillow tells of broken files in many ways
            path = root / _FOLDER / _IMAGES / found.filename[at]
            raise DataError(f"{path}: not a whole image; mend it, or {_MEND}") from error
    return images
