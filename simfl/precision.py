"""Number types that values travel in, and what each of them can hold.

``float16`` is IEEE's. ``int8`` is symmetric: whole numbers from -127 to 127, times one scale for a
tensor; -128 stands for NaN. A scale has 16 significant bits, so that each product is a float32, and
whoever derives it again from the products finds the same one.
"""

from __future__ import annotations

from math import frexp, ldexp
from typing import Final, Literal

import torch
from torch import Tensor

Precision = Literal["float16", "int8"]

LEVELS: Final = 127
_SCALE_BITS: Final = 16
_LARGEST: Final = torch.finfo(torch.float32).max
_LEAST_SCALE: Final = 2.0**-134
"""Of any smaller one, 16 bits are not all there in a float32."""


def rounded(values: Tensor, dtype: Precision) -> Tensor:
    """The float32 values of a tensor as the type can hold them.

    Args:
        values: of one tensor; not changed.
        dtype: ``float16`` rounds to nearest even, and what is beyond its range becomes its largest
            number; ``int8`` rounds to the nearest multiple of the tensor's scale, and infinities
            become NaN.
    """
    if dtype == "float16":
        largest = torch.finfo(torch.float16).max
        # NaN has many bit patterns; one of them stays itself either way
        return torch.nan_to_num(values.clamp(-largest, largest).half().float(), nan=torch.nan)
    scale = int8_scale(values)
    steps = int8_steps(values, scale)
    return torch.where(steps.isnan(), torch.nan, steps * scale)


def int8_scale(values: Tensor) -> float:
    """The float32 that an int8 counts in: the largest finite magnitude / 127, rounded up; or 0."""
    magnitudes = values.abs()
    finite = magnitudes[magnitudes.isfinite()]
    largest = float(finite.max()) if len(finite) else 0.0
    if not largest:
        return 0.0
    # below float32's largest number, the largest product is there too
    return min(max(_up(largest / LEVELS), _LEAST_SCALE), _down(_LARGEST / LEVELS))


def int8_steps(values: Tensor, scale: float) -> Tensor:
    """Whole numbers from -127 to 127, as float32; NaN of what is not finite."""
    finite = torch.where(values.isfinite(), values, torch.nan)
    steps = (finite.double() / (scale or 1.0)).round().clamp(-LEVELS, LEVELS)
    return steps.float() + 0.0  # no -0.0: an int8 has one zero


def _up(number: float) -> float:
    return -_down(-number)


def _down(number: float) -> float:
    """The next number below of 16 significant bits."""
    mantissa, exponent = frexp(number)
    return ldexp(ldexp(mantissa, _SCALE_BITS) // 1, exponent - _SCALE_BITS)
