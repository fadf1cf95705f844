"""Dense: every entry, nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simfl.codecs.base import Bools, Codec, Floats, Tensorwise
from simfl.codecs.reading import Reader
from simfl.codecs.values import read_values, value_bytes, write_values
from simfl.options import Options
from simfl.registry import CODECS
from simfl.tensors import Layout, Masks, Payload
from simfl.work import DTYPE, TensorInfo


class DenseOptions(Options):
    """No options."""


@CODECS.register("dense", options=DenseOptions)
class Dense(Tensorwise):
    """4 bytes a float32, pruned or not; the structure does not travel."""

    def __init__(self, options: DenseOptions) -> None:
        self.options = options

    def size(self, info: TensorInfo) -> int:
        """All entries."""
        return value_bytes(info.size, info.dtype)

    def write(self, info: TensorInfo, values: Floats, kept: Bools) -> bytes:
        """All entries, row by row."""
        return write_values(values, info.dtype)

    def read(self, reader: Reader, info: TensorInfo) -> tuple[Floats, Bools]:
        """All entries."""
        return read_values(reader, info.size, info.dtype), np.ones(info.size, np.bool_)

    def decode(
        self, data: bytes, layout: Layout, known: Masks | None = None, dtype: str = DTYPE
    ) -> Payload:
        """The tensors; masks are not sent."""
        return replace(super().decode(data, layout, dtype=dtype), masks=None)


_: type[Codec] = Dense
