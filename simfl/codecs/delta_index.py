"""Differences of positions, in a code whose size follows from counts alone: Elias and Fano's.

A tensor is its number of stored entries (a varint), their positions and their values; one of which
nothing is missing has no positions. With n of u entries stored, the lowest l = floor(log2(u / n))
bits of each position stand as they are. The higher bits rise slowly: their differences stand in
unary, a zero for each step and a one for each entry.
"""

from __future__ import annotations

from math import prod

import numpy as np

from simfl.codecs.base import Codec
from simfl.codecs.counted import Counted, Positions, Shape
from simfl.codecs.reading import Reader
from simfl.options import Options
from simfl.registry import CODECS


class DeltaIndexOptions(Options):
    """No options."""


@CODECS.register("delta_index", options=DeltaIndexOptions)
class DeltaIndex(Counted):
    """4 bytes a stored float32, and about 2 + log2(entries / stored) bits for its position.

    Source: Elias, Efficient storage and retrieval by content and address of static files, J. ACM
    1974; Fano, On the number of bits required to implement an associative memory, MIT 1971.
    """

    def __init__(self, options: DeltaIndexOptions) -> None:
        self.options = options

    def position_bytes(self, shape: Shape, stored: int) -> int:
        """Low halves, then high ones, each to the end of a byte."""
        if not stored:
            return 0
        low, high = _bits(prod(shape), stored)
        return -(-stored * low // 8) + -(-high // 8)

    def write_positions(self, shape: Shape, positions: Positions) -> bytes:
        """The low halves verbatim, the highest bit first; the high ones as gaps."""
        stored = len(positions)
        if not stored:
            return b""
        low, high = _bits(prod(shape), stored)
        lows = (positions[:, None] >> np.arange(low)[::-1]) & 1
        highs = np.zeros(high, np.bool_)
        highs[(positions >> low) + np.arange(stored)] = True
        return np.packbits(lows.astype(np.bool_)).tobytes() + np.packbits(highs).tobytes()

    def read_positions(self, reader: Reader, shape: Shape, stored: int) -> Positions:
        """The halves put together.

        Raises:
            ValueError: the high halves are not those of so many entries.
        """
        if not stored:
            return np.zeros(0, np.int64)
        low, high = _bits(prod(shape), stored)
        lows = reader.bits(stored * low).reshape(stored, low) @ (1 << np.arange(low)[::-1])
        ones = np.flatnonzero(reader.bits(high)).astype(np.int64)
        if len(ones) != stored:
            raise ValueError(f"{len(ones)} gaps are there for {stored} entries")
        return ((ones - np.arange(stored)) << low) + lows.astype(np.int64)


def _bits(size: int, stored: int) -> tuple[int, int]:
    """How many bits the low half of each position takes, and the high halves of all.

    >>> _bits(1000, 100), _bits(10, 9)
    ((3, 224), (0, 18))
    """
    low = (size // stored).bit_length() - 1
    return low, stored + (size - 1 >> low)


_: type[Codec] = DeltaIndex
