"""CIFAR-10: 50,000 + 10,000 photographs, 32 x 32 RGB, in ten classes. Source: Krizhevsky 2009."""

from simfl.datasets.base import DataSpec, NoOptions
from simfl.datasets.cifar import cifar_spec
from simfl.registry import DATASETS


@DATASETS.register("cifar10", options=NoOptions)
def cifar10(_options: NoOptions) -> DataSpec:
    """From torchvision's ``cifar-10-batches-py``, else from the arrays in ``cifar10.npz``."""
    files = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
    return cifar_spec("cifar10", classes=10, folder="cifar-10-batches-py", files=files)
