"""MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 grey. Source: LeCun et al. 1998."""

from simfl.datasets.base import DataSpec, NoOptions
from simfl.datasets.idx import idx_spec
from simfl.registry import DATASETS


@DATASETS.register("mnist", options=NoOptions)
def mnist(_options: NoOptions) -> DataSpec:
    """From ``MNIST/raw``."""
    return idx_spec("mnist", "MNIST")
