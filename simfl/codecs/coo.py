"""COO: matrices as coordinates and values, the rest dense.

A tensor of matrix form is sent as its number of stored entries (a varint), then rows, columns and
values; the index type is the smallest unsigned one that holds the larger dimension. Biases, and
convolutions unless asked for, are sent dense.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from simfl.codecs.base import Codec
from simfl.codecs.counted import Counted, Positions, Shape
from simfl.codecs.matrices import MatrixOptions, matrix
from simfl.codecs.reading import Reader, unsigned
from simfl.registry import CODECS


class CooOptions(MatrixOptions):
    """How COO is used.

    Attributes:
        convolutions: ``dense`` (PruneFL: masks stand in for sparse kernels) or ``coo`` as matrices
            of (out, in x height x width).
    """

    convolutions: Literal["dense", "coo"] = "dense"


@CODECS.register("coo", options=CooOptions)
class Coo(Counted):
    """4 + 2b bytes a stored float32 of a matrix, b the bytes of an index.

    Source: Jiang et al. 2019, section 4.2, eq. (2).
    """

    def __init__(self, options: CooOptions) -> None:
        self.smaller = options.dense_when == "smaller"
        self._convolutions = options.convolutions == "coo"

    def counted(self, shape: Shape) -> bool:
        """Matrices, and convolutions if asked for."""
        return len(shape) == 2 or (len(shape) > 2 and self._convolutions)

    def position_bytes(self, shape: Shape, stored: int) -> int:
        """A row and a column each."""
        return 2 * stored * np.dtype(_index_type(shape)).itemsize

    def write_positions(self, shape: Shape, positions: Positions) -> bytes:
        """All rows, then all columns."""
        rows, columns = np.divmod(positions, matrix(shape)[1])
        index = _index_type(shape)
        return rows.astype(index).tobytes() + columns.astype(index).tobytes()

    def read_positions(self, reader: Reader, shape: Shape, stored: int) -> Positions:
        """Of rows and columns within the matrix.

        Raises:
            ValueError: a column is not.
        """
        index, (_, wide) = _index_type(shape), matrix(shape)
        rows = reader.numbers(stored, index).astype(np.int64)
        columns = reader.numbers(stored, index).astype(np.int64)
        if (columns >= wide).any():
            raise ValueError(f"column {columns.max()} exceeds a matrix of {wide} columns")
        return rows * wide + columns


def _index_type(shape: Shape) -> str:
    """The smallest unsigned integer that holds every row and column of a matrix.

    >>> _index_type((10, 100)), _index_type((300, 784)), _index_type((10, 70000))
    ('<u1', '<u2', '<u4')
    """
    return unsigned(max(*matrix(shape), 1) - 1)


_: type[Codec] = Coo
