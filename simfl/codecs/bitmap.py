"""Bitmap: of a pruned tensor one bit for each entry says whether it is stored.

A tensor is its number of stored entries (a varint), its bits, and the values of the stored entries;
one of which nothing is missing has no bits.
"""

from __future__ import annotations

import numpy as np

from simfl.codecs.base import Codec
from simfl.codecs.counted import Counted, Positions, Shape
from simfl.codecs.reading import Reader
from simfl.options import Options
from simfl.registry import CODECS


class BitmapOptions(Options):
    """No options."""


@CODECS.register("bitmap", options=BitmapOptions)
class Bitmap(Counted):
    """4 bytes a stored float32, and an eighth of a byte for each entry of a pruned tensor."""

    def __init__(self, options: BitmapOptions) -> None:
        self.options = options

    def position_bytes(self, shape: Shape, stored: int) -> int:
        """A bit for each entry, stored or not."""
        return -(-_size(shape) // 8)

    def write_positions(self, shape: Shape, positions: Positions) -> bytes:
        """The bits, the first entry's highest in the first byte."""
        kept = np.zeros(_size(shape), np.bool_)
        kept[positions] = True
        return np.packbits(kept).tobytes()

    def read_positions(self, reader: Reader, shape: Shape, stored: int) -> Positions:
        """Where bits are set.

        Raises:
            ValueError: not as many are set as entries are stored.
        """
        positions = np.flatnonzero(reader.bits(_size(shape))).astype(np.int64)
        if len(positions) != stored:
            raise ValueError(f"{len(positions)} bits are set for {stored} entries")
        return positions


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


_: type[Codec] = Bitmap
