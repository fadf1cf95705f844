"""Make `import torchvision` work where its compiled part does not fit the installed torch.

Importing this module first is enough. torchvision's Python code refers, while it is imported, to
two operators that its compiled part declares; when that part cannot be loaded, the import fails
with "operator torchvision::nms does not exist". They are declared here then. No driver calls them.
"""

from __future__ import annotations

import sys

import torch

KEPT: list[torch.library.Library] = []

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    KEPT.append(library)
