"""torchvision beside a CPU-only torch.

PyPI's torchvision binary carries CUDA operators that cannot load without CUDA; its import then
fails on two operators whose schemas were never declared. Declaring them first lets the rest (data
sets, models, transforms) work; the operators themselves are not used here.
"""

import warnings
from functools import lru_cache
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@lru_cache(maxsize=1)
def torchvision() -> ModuleType:
    """Import torchvision; where its binary cannot load its operators, declare them first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            _declare_schemas()
            import torchvision
    module: ModuleType = torchvision
    return module


def _declare_schemas() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    # the definitions live as long as the library object
    _declare_schemas.__dict__["library"] = library
