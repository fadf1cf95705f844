"""CSR: tensors as matrices of compressed sparse rows, vectors dense.

A tensor of two dimensions or more is a matrix of (outputs, the rest): its number of stored entries
(a varint), where each row begins among them, their columns, their values. Indices are of the
smallest unsigned type that holds the last column, pointers of that which holds the number of
entries.
"""

from __future__ import annotations

import numpy as np

from simfl.codecs.base import Codec
from simfl.codecs.counted import Counted, Positions, Shape
from simfl.codecs.matrices import MatrixOptions, matrix
from simfl.codecs.reading import Reader, unsigned
from simfl.registry import CODECS


@CODECS.register("csr", options=MatrixOptions)
class Csr(Counted):
    """4 + b bytes a stored float32, b the bytes of an index, and a pointer for each row.

    Source: Saad, Iterative Methods for Sparse Linear Systems, 2nd ed. 2003, section 3.4.
    """

    def __init__(self, options: MatrixOptions) -> None:
        self.smaller = options.dense_when == "smaller"

    def counted(self, shape: Shape) -> bool:
        """All but vectors."""
        return len(shape) > 1

    def position_bytes(self, shape: Shape, stored: int) -> int:
        """A pointer for each row and one more, a column for each entry."""
        rows, wide = matrix(shape)
        pointer, index = np.dtype(unsigned(stored)), np.dtype(_index_type(wide))
        return (rows + 1) * pointer.itemsize + stored * index.itemsize

    def write_positions(self, shape: Shape, positions: Positions) -> bytes:
        """Pointers, then columns."""
        rows, wide = matrix(shape)
        pointers = np.searchsorted(positions, np.arange(rows + 1) * wide)
        columns = (positions % wide).astype(_index_type(wide))
        return pointers.astype(unsigned(len(positions))).tobytes() + columns.tobytes()

    def read_positions(self, reader: Reader, shape: Shape, stored: int) -> Positions:
        """Of columns within the matrix.

        Raises:
            ValueError: a column is not, or the pointers are not those of so many entries.
        """
        rows, wide = matrix(shape)
        pointers = reader.numbers(rows + 1, unsigned(stored)).astype(np.int64)
        columns = reader.numbers(stored, _index_type(wide)).astype(np.int64)
        return csr_positions(pointers, columns, wide)


def csr_positions(pointers: Positions, columns: Positions, wide: int) -> Positions:
    """Positions row by row, from row pointers and columns.

    Raises:
        ValueError: a column exceeds the matrix, or the pointers are not those of so many entries.
    """
    lengths = np.diff(pointers)
    if pointers[0] or pointers[-1] != len(columns) or (lengths < 0).any():
        raise ValueError(f"row pointers are not those of {len(columns)} entries")
    if len(columns) and not 0 <= columns.min() <= columns.max() < wide:
        raise ValueError(f"column {columns.max()} exceeds a matrix of {wide} columns")
    return np.repeat(np.arange(len(lengths)), lengths) * wide + columns


def _index_type(wide: int) -> str:
    return unsigned(max(wide, 1) - 1)


_: type[Codec] = Csr
