"""Schedules: how a quantity moves over the rounds of a training. Pure; rounds count from 0."""

from math import cos, pi
from typing import Final

_PUBLIC_SEGMENTS: Final = 20
_PUBLIC_FLOOR: Final = 5e-4


def cubic(round: int, horizon: int, first: float, last: float) -> float:
    """From ``first`` to ``last``, fast at the beginning; ``last`` beyond the horizon.

    Source: Long et al. 2023 (FedDIP), eq. (11); Zhu and Gupta 2017, eq. (1).

    >>> [round(cubic(t, 10, 0.5, 0.9), 4) for t in (0, 5, 10, 99)]
    [0.5, 0.85, 0.9, 0.9]
    """
    left = max(0.0, 1 - round / horizon)
    return last + (first - last) * left**3


def cosine(round: int, horizon: int, first: float) -> float:
    """From ``first`` to 0, along half a wave; 0 from the horizon on.

    Source: Dettmers and Zettlemoyer 2019; Bibikar et al. 2022 (FedDST), section 3.

    >>> [round(cosine(t, 8, 0.5), 4) for t in (0, 4, 8, 9)]
    [0.5, 0.25, 0.0, 0.0]
    """
    return first / 2 * (1 + cos(pi * round / horizon)) if round < horizon else 0.0


def segments(round: int, horizon: int, most: float, count: int) -> float:
    """``most`` x (i - 1) / count in the i-th of ``count`` equal parts of the horizon: 0 at first.

    Source: Long et al. 2023 (FedDIP), eq. (9).

    >>> [round(segments(t, 1000, 1e-3, 10), 6) for t in (0, 99, 100, 999)]
    [0.0, 0.0, 0.0001, 0.0009]
    """
    part = min(round * count // horizon, count - 1)
    return most * part / count


def public_segments(round: int, horizon: int, most: float) -> float:
    """What FedDIP's public code runs in the place of `segments`.

    20 parts: 0 in the first, then from 5e-4 in equal steps, of which the last would reach ``most``
    only in a part more.

    >>> [round(public_segments(t, 1000, 1e-3), 7) for t in (0, 50, 100, 999)]
    [0.0, 0.0005, 0.0005263, 0.0009737]
    """
    length = max(1, horizon // _PUBLIC_SEGMENTS)
    part = min(round // length, _PUBLIC_SEGMENTS - 1)
    step = (most - _PUBLIC_FLOOR) / (_PUBLIC_SEGMENTS - 1)
    return _PUBLIC_FLOOR + step * (part - 1) if part else 0.0
