"""Values with fewer bits: what is lost is lost here, before a codec sees it."""

from __future__ import annotations

from dataclasses import replace

import torch

from simfl.precision import Precision, rounded
from simfl.tensors import NamedTensors, Payload


def quantised(payload: Payload, dtype: Precision) -> Payload:
    """The payload with only such values in its matrices as the type can hold.

    Tensors of two dimensions and more are rounded, each on its own; biases and what batch
    normalisation has stay float32. Done twice, it is done once.
    """
    parts = [rounded(t, dtype) if t.dim() > 1 else t for t in payload.tensors.values()]
    flat = torch.cat([part.reshape(-1) for part in parts])
    return replace(payload, tensors=NamedTensors(payload.tensors.layout, flat), dtype=dtype)
