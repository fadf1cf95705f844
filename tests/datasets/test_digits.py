from pathlib import Path

import torch

from simfl.datasets.base import NoOptions
from simfl.registry import DATASETS


def test_digits_are_there_without_a_download(tmp_path: Path) -> None:
    spec = DATASETS.get("digits").build(NoOptions())
    assert spec.files == ()
    data = spec.read(tmp_path)
    assert data.sample_shape == (1, 28, 28)
    assert (len(data.train_labels), len(data.test_labels)) == (1438, 359)
    assert data.train_images.dtype == torch.uint8
    assert data.train_images.max() == 255
    assert set(data.test_labels.tolist()) == set(range(10))
    assert data.digest() == spec.read(tmp_path).digest()
