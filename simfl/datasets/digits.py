"""scikit-learn's digits, resized to 28 x 28: real data that needs no download.

1,797 handwritten digits of 8 x 8 pixels in 17 grey levels; every fifth one is for testing (359 of
them). Source: Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits, 1998.
"""

from pathlib import Path

import torch
from torch.nn.functional import interpolate

from simfl.datasets.base import Dataset, DataSpec, NoOptions
from simfl.registry import DATASETS


@DATASETS.register("digits", options=NoOptions)
def digits(_options: NoOptions) -> DataSpec:
    """From scikit-learn's own files."""
    return DataSpec(name="digits", files=(), read=_read)


def _read(_folder: Path) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    images = interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    images = images.round().clamp(0, 255).to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    test = torch.arange(len(labels)) % 5 == 4
    return Dataset(
        name="digits",
        classes=10,
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
    )
