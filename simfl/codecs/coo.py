"""COO: matrices as coordinates and values, the rest dense.

A tensor of matrix form is sent as its number of stored entries (a varint), then rows, columns and
values; the index type is the smallest unsigned one that holds the larger dimension. Biases, and
convolutions unless asked for, are sent dense.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array

from simfl.codecs.base import Codec
from simfl.options import Options
from simfl.registry import CODECS
from simfl.tensors import Layout, Masks, NamedTensors, Payload
from simfl.work import Manifest


class CooOptions(Options):
    """How COO is used.

    Attributes:
        dense_when: send a matrix dense while it is ``unpruned`` (PruneFL: an original model is
            dense, a pruned one sparse even where that is larger) or whenever dense is ``smaller``.
        convolutions: ``dense`` (PruneFL: masks stand in for sparse kernels) or ``coo`` as matrices
            of (out, in x height x width).
    """

    dense_when: Literal["unpruned", "smaller"] = "unpruned"
    convolutions: Literal["dense", "coo"] = "dense"


@CODECS.register("coo", options=CooOptions)
class Coo:
    """4 + 2b bytes a stored entry of a matrix, b the bytes of an index.

    Source: Jiang et al. 2019, section 4.2, eq. (2).
    """

    def __init__(self, options: CooOptions) -> None:
        self.options = options

    def nbytes(self, manifest: Manifest) -> int:
        """From counts alone."""
        total = 0
        for info in manifest.tensors:
            if self._sparse(info.shape, info.nonzero):
                total += len(_varint(info.nonzero)) + _coo_bytes(info.shape, info.nonzero)
            else:
                count = len(_varint(info.size)) if self._is_matrix(info.shape) else 0
                total += count + 4 * info.size
        return total

    def encode(self, payload: Payload) -> bytes:
        """The message."""
        parts: list[bytes] = []
        for name, tensor in payload.tensors.items():
            kept = payload.masks.views[name] if payload.masks else torch.ones_like(tensor)
            stored = int(kept.sum())
            if self._sparse(tuple(tensor.shape), stored):
                index = _index_type(tensor.shape)
                rows, columns = np.nonzero(kept.reshape(len(kept), -1).numpy())
                values = tensor.reshape(len(tensor), -1).numpy()[rows, columns]
                parts += [_varint(stored), rows.astype(index).tobytes()]
                parts += [columns.astype(index).tobytes(), values.astype("<f4").tobytes()]
            else:
                parts.append(_varint(tensor.numel()) if self._is_matrix(tensor.shape) else b"")
                parts.append(tensor.numpy().astype("<f4").tobytes())
        return b"".join(parts)

    def decode(self, data: bytes, layout: Layout, known: Masks | None = None) -> Payload:
        """Tensors, and masks: what was stored is kept, zeros among it included.

        A pruned matrix that went dense because that was smaller keeps what is not zero.
        """
        tensors, masks, at = [], [], 0
        for shape, size in zip(layout.shapes, layout.sizes, strict=True):
            stored = size
            if self._is_matrix(shape):
                stored, at = _read_varint(data, at)
            if stored > size:
                raise ValueError(f"{stored} entries are said of a matrix of {size}")
            if stored < size:
                index, matrix = _index_type(shape), (shape[0], size // shape[0])
                rows, at = _take(data, at, stored, index)
                columns, at = _take(data, at, stored, index)
                values, at = _take(data, at, stored, "<f4")
                where = (rows.astype(np.int64), columns.astype(np.int64))
                tensor = coo_array((values, where), matrix).toarray()
                mask = coo_array((np.ones(stored, np.float32), where), matrix).toarray()
            else:
                tensor, at = _take(data, at, size, "<f4")
                exact = self.options.dense_when == "unpruned" or not self._is_matrix(shape)
                mask = np.ones(size) if exact else tensor != 0
            tensors.append(tensor.astype(np.float32).reshape(-1))
            masks.append(mask.astype(np.float32).reshape(-1))
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes too many")
        named = NamedTensors(layout, torch.from_numpy(np.concatenate(tensors)))
        return Payload(named, Masks(layout, torch.from_numpy(np.concatenate(masks))))

    def _is_matrix(self, shape: tuple[int, ...] | torch.Size) -> bool:
        return len(shape) == 2 or (len(shape) > 2 and self.options.convolutions == "coo")

    def _sparse(self, shape: tuple[int, ...], stored: int) -> bool:
        """Whether a tensor with that many stored entries goes as coordinates."""
        size = int(np.prod(shape))
        if not self._is_matrix(shape) or stored == size:
            return False
        return self.options.dense_when == "unpruned" or _coo_bytes(shape, stored) < 4 * size


def _index_type(shape: tuple[int, ...] | torch.Size) -> str:
    """The smallest unsigned integer that holds every row and column of a matrix.

    >>> _index_type((10, 100)), _index_type((300, 784)), _index_type((10, 70000))
    ('<u1', '<u2', '<u4')
    """
    longest = max(shape[0], int(np.prod(shape[1:])))
    return "<u1" if longest <= 2**8 else "<u2" if longest <= 2**16 else "<u4"


def _coo_bytes(shape: tuple[int, ...], stored: int) -> int:
    return stored * (4 + 2 * np.dtype(_index_type(shape)).itemsize)


def _varint(number: int) -> bytes:
    """LEB128: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the message ends within a count")
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _take(data: bytes, at: int, count: int, dtype: str) -> tuple[NDArray[np.generic], int]:
    end = at + count * np.dtype(dtype).itemsize
    if end > len(data):
        raise ValueError(f"the message ends at byte {len(data)}, {end} are due")
    return np.frombuffer(data, dtype, count, at), end


_: type[Codec] = Coo
