"""CIFAR-100: 50,000 + 10,000 photographs, 32 x 32 RGB, in 100 classes. Source: Krizhevsky 2009."""

from simfl.datasets.base import DataSpec, NoOptions
from simfl.datasets.cifar import cifar_spec
from simfl.registry import DATASETS


@DATASETS.register("cifar100", options=NoOptions)
def cifar100(_options: NoOptions) -> DataSpec:
    """From torchvision's ``cifar-100-python``, else from the arrays in ``cifar100.npz``.

    The labels are the fine ones.
    """
    files = ("train", "test", "meta")
    return cifar_spec("cifar100", classes=100, folder="cifar-100-python", files=files)
