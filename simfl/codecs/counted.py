"""Tensors of which the stored entries travel, with their positions, behind their number."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from simfl.codecs.base import Bools, Floats, Tensorwise, spread
from simfl.codecs.reading import Reader, varint
from simfl.codecs.values import read_values, value_bytes, write_values
from simfl.work import TensorInfo

Shape = tuple[int, ...]
Positions = NDArray[np.int64]


class Counted(Tensorwise):
    """A tensor is its number of stored entries (a varint), then their positions and values.

    Where that number is the tensor's size, all its entries follow, without positions. Tensors that
    are not `counted` have no number in front: all their entries follow.

    Attributes:
        smaller: also send all entries where they are fewer bytes than some with their positions.
            The receiver then takes for stored what is not zero (-0.0 is not).
    """

    smaller: bool = False

    @abstractmethod
    def position_bytes(self, shape: Shape, stored: int) -> int:
        """Bytes of the positions of that many stored entries."""

    @abstractmethod
    def write_positions(self, shape: Shape, positions: Positions) -> bytes:
        """Positions among all entries row by row, in rising order."""

    @abstractmethod
    def read_positions(self, reader: Reader, shape: Shape, stored: int) -> Positions:
        """What was written; whoever calls checks that it rises and stays within the tensor."""

    def counted(self, shape: Shape) -> bool:
        """Whether some of such a tensor's entries may be left out."""
        return True

    def size(self, info: TensorInfo) -> int:
        """Bytes of one tensor."""
        if not self.counted(info.shape):
            return value_bytes(info.size, info.dtype)
        if not self._sparse(info):
            return len(varint(info.size)) + value_bytes(info.size, info.dtype)
        return len(varint(info.nonzero)) + self._sparse_bytes(info)

    def write(self, info: TensorInfo, values: Floats, kept: Bools) -> bytes:
        """One tensor."""
        if not self.counted(info.shape):
            return write_values(values, info.dtype)
        if not self._sparse(info):
            return varint(info.size) + write_values(values, info.dtype)
        positions = self.write_positions(info.shape, np.flatnonzero(kept).astype(np.int64))
        return varint(info.nonzero) + positions + write_values(values[kept], info.dtype)

    def read(self, reader: Reader, info: TensorInfo) -> tuple[Floats, Bools]:
        """Its entries, and which of them were stored."""
        stored = reader.varint() if self.counted(info.shape) else info.size
        if stored > info.size:
            raise ValueError(f"{stored} entries are said of a tensor of {info.size}")
        kept = np.ones(info.size, np.bool_)
        if stored < info.size:
            positions = self.read_positions(reader, info.shape, stored)
            _check(positions, info.size)
            kept[:] = False
            kept[positions] = True
            return spread(read_values(reader, stored, info.dtype), kept), kept
        values = read_values(reader, stored, info.dtype)
        if self.smaller and self.counted(info.shape):
            kept = values.view(np.uint32) != 0
        return values, kept

    def _sparse(self, info: TensorInfo) -> bool:
        """Whether only what is stored of a counted tensor goes."""
        if not info.pruned:
            return False
        return not self.smaller or self._sparse_bytes(info) < value_bytes(info.size, info.dtype)

    def _sparse_bytes(self, info: TensorInfo) -> int:
        values = value_bytes(info.nonzero, info.dtype)
        return self.position_bytes(info.shape, info.nonzero) + values


def _check(positions: Positions, size: int) -> None:
    """Whether positions are such as are written."""
    if len(positions) and not 0 <= positions[-1] < size:
        raise ValueError(f"position {positions[-1]} exceeds a tensor of {size} entries")
    if (np.diff(positions, prepend=-1) <= 0).any():
        raise ValueError("the positions of a tensor's entries do not rise")
