"""Values as bytes: float32, float16, int8 behind the float32 that they count in, or bits."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from simfl.codecs.base import Floats
from simfl.codecs.reading import Reader
from simfl.precision import int8_scale, int8_steps
from simfl.work import BIT

_NUMPY: Final = {"float32": "<f4", "float16": "<f2", "int8": "<i1"}
_NAN: Final = -128  # as an int8
SCALE_BYTES: Final = 4


def value_bytes(count: int, dtype: str) -> int:
    """Bytes of that many values of one tensor."""
    if dtype == BIT:
        return -(-count // 8)
    return count * np.dtype(_NUMPY[dtype]).itemsize + (SCALE_BYTES if dtype == "int8" else 0)


def write_values(values: Floats, dtype: str) -> bytes:
    """Little-endian, one after the other.

    Raises:
        ValueError: one that the type cannot hold.
    """
    if dtype == "float32":
        return values.astype("<f4").tobytes()
    if dtype == "float16":
        with np.errstate(over="ignore"):
            halves = values.astype("<f2")
        _check(halves.astype(np.float32), values, dtype)
        return halves.tobytes()
    if dtype == BIT:
        ones = values == 1
        _check(ones.astype(np.float32), values, dtype)
        return np.packbits(ones).tobytes()
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    scale = int8_scale(tensor)
    steps = int8_steps(tensor, scale)
    _check((steps * scale).numpy(), values, dtype)
    whole = steps.nan_to_num(nan=_NAN).numpy().astype("<i1")
    return np.array(scale, "<f4").tobytes() + whole.tobytes()


def read_values(reader: Reader, count: int, dtype: str) -> Floats:
    """As float32.

    Raises:
        ValueError: too few bytes, or no scale.
    """
    if dtype == BIT:
        return reader.bits(count).astype(np.float32)
    if dtype != "int8":
        return reader.numbers(count, _NUMPY[dtype]).astype(np.float32)
    scale = np.float32(reader.numbers(1, "<f4")[0])
    if not (np.isfinite(scale) and scale >= 0):
        raise ValueError(f"{scale} is not the scale of a tensor of int8")
    steps = reader.numbers(count, "<i1").astype(np.float32)
    with np.errstate(over="ignore"):
        return np.where(steps == _NAN, np.float32(np.nan), steps * scale)


def _check(held: Floats, values: Floats, dtype: str) -> None:
    if not np.array_equal(held, values, equal_nan=True):
        raise ValueError(f"a value is none that {dtype} can hold; quantise it before")
