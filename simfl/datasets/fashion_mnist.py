"""Fashion-MNIST: 60,000 + 10,000 clothes, 28 x 28 grey. Source: Xiao et al. 2017."""

from simfl.datasets.base import DataSpec, NoOptions
from simfl.datasets.idx import idx_spec
from simfl.registry import DATASETS


@DATASETS.register("fashion_mnist", options=NoOptions)
def fashion_mnist(_options: NoOptions) -> DataSpec:
    """From ``FashionMNIST/raw``."""
    return idx_spec("fashion_mnist", "FashionMNIST")
