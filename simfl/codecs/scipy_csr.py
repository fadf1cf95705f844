"""SciPy's CSR in NumPy's files: what a study of structured pruning on Flower sends, to the byte.

Each tensor is a byte string of its own, one after the other in the layout's order. Tensors of two
dimensions and more are reshaped to (-1, last dimension) and made a `scipy.sparse.csr_matrix`, of
which `np.savez` writes the members data, indices, indptr and shape, the tensor's shape, and
allow_pickle: NumPy took that keyword for an array until 2.2. Others are written by `np.save`.

PyTorch's state has a counter of batches for each batch normalisation, which a layout leaves out;
here it is added, as 0, behind the running variance. (A layout has all parameters before the
buffers, PyTorch each module's together: the byte strings are in another order than the study's, and
as many.) How Flower frames the list of byte strings is not counted.

The study's values are float32. Of int8, the scale is a member more.
"""

from __future__ import annotations

from io import BytesIO
from math import prod
from typing import Final, Literal
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from simfl.codecs.base import Bools, Codec, Floats, Tensorwise, spread
from simfl.codecs.csr import csr_positions
from simfl.codecs.matrices import matrix
from simfl.codecs.reading import Reader
from simfl.codecs.values import SCALE_BYTES, read_values, value_bytes, write_values
from simfl.options import Options
from simfl.registry import CODECS
from simfl.work import TensorInfo

_HEADER_BYTES: Final = 128  # of a .npy file with few dimensions
_LOCAL_BYTES: Final = 30 + 20  # before each member of a zip file, without its name: ZIP64's form
_CENTRAL_BYTES: Final = 46  # for each member in the directory, without its name
_END_BYTES: Final = 22
_SIZE_AT: Final = 30 + len("data.npy") + 4  # of the first member's size in its local header
_DESCR: Final = {"float32": "<f4", "float16": "<f2", "int8": "|i1"}
_UNIX: Final = 3

Member = tuple[str, str, tuple[int, ...]]
"""Name, type and shape of an array."""


class ScipyCsrOptions(Options):
    """How tensors are turned into matrices.

    Attributes:
        rows: ``last_dim`` as in the study: a 3 x 3 convolution has a row for three entries, and
            a row's pointer takes as much as an entry's value; with ``outputs``, for each output.
        batch_counters: add the counters that PyTorch's state has.
    """

    rows: Literal["last_dim", "outputs"] = "last_dim"
    batch_counters: bool = True


@CODECS.register("scipy_csr", options=ScipyCsrOptions)
class ScipyCsr(Tensorwise):
    """8 bytes a stored float32, 4 for each row, some 1,550 for each matrix.

    Source: `numpy.lib.format`, version 1.0; PKWARE's APPNOTE for ZIP.
    """

    def __init__(self, options: ScipyCsrOptions) -> None:
        self.options = options

    def size(self, info: TensorInfo) -> int:
        """From counts alone: no member is compressed."""
        counter = len(_COUNTER) if self._has_counter(info) else 0
        if len(info.shape) < 2:
            return _HEADER_BYTES + value_bytes(info.size, info.dtype) + counter
        return counter + _zip_bytes(self._members(info, info.nonzero))

    def write(self, info: TensorInfo, values: Floats, kept: Bools) -> bytes:
        """One byte string, and that of the counter where there is one."""
        counter = _COUNTER if self._has_counter(info) else b""
        if len(info.shape) < 2:
            return _npy(_DESCR[info.dtype], info.shape, write_values(values, info.dtype)) + counter
        rows, wide = self._matrix(info)
        positions = np.flatnonzero(kept)
        pointers = np.searchsorted(positions, np.arange(rows + 1) * wide)
        stored = write_values(values[kept], info.dtype)
        scale = SCALE_BYTES if info.dtype == "int8" else 0
        contents = [
            stored[scale:],
            (positions % max(wide, 1)).astype("<i4").tobytes(),
            pointers.astype("<i4").tobytes(),
            np.array((rows, wide), "<i8").tobytes(),
            np.array(info.shape, "<i8").tobytes(),
            bytes([False]),
        ]
        if scale:
            contents.append(stored[:scale])
        return _zip(self._members(info, len(positions)), contents) + counter

    def read(self, reader: Reader, info: TensorInfo) -> tuple[Floats, Bools]:
        """Its entries, and which of them were stored.

        Raises:
            ValueError: not the byte string that `write` makes of them.
        """
        start = reader.at
        if len(info.shape) < 2:
            reader.take(_HEADER_BYTES)
            kept = np.ones(info.size, np.bool_)
            values = read_values(reader, info.size, info.dtype)
        else:
            values, kept = self._read_matrix(reader, info)
        if self._has_counter(info):
            reader.take(len(_COUNTER))
        # everything but the values follows from them: names, sizes and checksums
        if self.write(info, values, kept) != reader.since(start):
            raise ValueError(f"bytes {start} to {reader.at} are no file of NumPy for {info.name}")
        return values, kept

    def _read_matrix(self, reader: Reader, info: TensorInfo) -> tuple[Floats, Bools]:
        """From where its members lie, which follows from the size of the first."""
        start = reader.at
        head = reader.take(_SIZE_AT + 8)
        nbytes = int.from_bytes(head[_SIZE_AT:], "little") - _HEADER_BYTES
        stored, rest = divmod(nbytes, np.dtype(_DESCR[info.dtype]).itemsize)
        if rest or not 0 <= stored <= info.size:
            raise ValueError(f"{nbytes} bytes are said of the values of {info.name}")
        members = self._members(info, stored)
        reader.at = start
        found: dict[str, bytes] = {}
        for name, descr, shape in members:
            reader.take(_LOCAL_BYTES + len(name) + _HEADER_BYTES)
            found[name] = reader.take(np.dtype(descr).itemsize * prod(shape))
        reader.take(sum(_CENTRAL_BYTES + len(name) for name, *_ in members) + _END_BYTES)
        pointers, columns = (
            np.frombuffer(found[name], "<i4").astype(np.int64)
            for name in ("indptr.npy", "indices.npy")
        )
        positions = csr_positions(pointers, columns, self._matrix(info)[1])
        kept = np.zeros(info.size, np.bool_)
        kept[positions] = True
        if int(kept.sum()) != stored:
            raise ValueError(f"two entries of {info.name} are in one place")
        values = Reader(found.get("scale.npy", b"") + found["data.npy"])
        return spread(read_values(values, stored, info.dtype), kept), kept

    def _members(self, info: TensorInfo, stored: int) -> list[Member]:
        rows, _ = self._matrix(info)
        members: list[Member] = [
            ("data.npy", _DESCR[info.dtype], (stored,)),
            ("indices.npy", "<i4", (stored,)),
            ("indptr.npy", "<i4", (rows + 1,)),
            ("shape.npy", "<i8", (2,)),
            ("original_shape.npy", "<i8", (len(info.shape),)),
            ("allow_pickle.npy", "|b1", ()),
        ]
        return [*members, ("scale.npy", "<f4", ())] if info.dtype == "int8" else members

    def _matrix(self, info: TensorInfo) -> tuple[int, int]:
        """Rows and columns."""
        if self.options.rows == "outputs":
            return matrix(info.shape)
        return prod(info.shape[:-1]), info.shape[-1]

    def _has_counter(self, info: TensorInfo) -> bool:
        return self.options.batch_counters and info.name.endswith(".running_var")


def _npy(descr: str, shape: tuple[int, ...], content: bytes) -> bytes:
    """What `np.save` writes of an array with these bytes."""
    out = BytesIO()
    npy.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + content


def _zip(members: list[Member], contents: list[bytes]) -> bytes:
    """What `np.savez` writes of arrays with these bytes, on any machine at any time."""
    out = BytesIO()
    with ZipFile(out, "w", ZIP_STORED) as file:
        for (name, descr, shape), content in zip(members, contents, strict=True):
            info = ZipInfo(name)
            info.create_system = _UNIX
            with file.open(info, "w", force_zip64=True) as member:
                member.write(_npy(descr, shape, content))
    return out.getvalue()


def _zip_bytes(members: list[Member]) -> int:
    overhead = _LOCAL_BYTES + _CENTRAL_BYTES + _HEADER_BYTES
    return _END_BYTES + sum(
        overhead + 2 * len(name) + np.dtype(descr).itemsize * prod(shape)
        for name, descr, shape in members
    )


_COUNTER: Final = _npy("<i8", (), bytes(8))

_: type[Codec] = ScipyCsr
