"""What formats of sparse matrices have in common: rows, columns, and when they are used."""

from __future__ import annotations

from math import prod
from typing import Literal

from simfl.codecs.counted import Shape
from simfl.options import Options

DenseWhen = Literal["unpruned", "smaller"]


class MatrixOptions(Options):
    """When a matrix goes with all its entries.

    Attributes:
        dense_when: send a matrix dense while it is ``unpruned`` (PruneFL: an original model is
            dense, a pruned one sparse even where that is larger) or whenever dense is ``smaller``.
    """

    dense_when: DenseWhen = "unpruned"


def matrix(shape: Shape) -> tuple[int, int]:
    """Rows and columns: outputs, and all the rest.

    >>> matrix((16, 6, 5, 5)), matrix((10, 84)), matrix((3, 0))
    ((16, 150), (10, 84), (3, 0))
    """
    return shape[0], prod(shape[1:])
