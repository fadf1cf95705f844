"""What a codec is: payload to bytes and back, and the size known from counts alone.

Both ends know the architecture (it is part of the experiment), so names and shapes do not travel:
a message holds the tensors in the architecture's order. In which type values travel is agreed on
too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from simfl.codecs.reading import Reader
from simfl.tensors import Layout, Masks, NamedTensors, Payload
from simfl.work import DTYPE, Manifest, TensorInfo, sent_as

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Codec(Protocol):
    """Lossless; a lossy codec is a step of the algorithm, since it changes what is computed."""

    def nbytes(self, manifest: Manifest) -> int:
        """Bytes of the encoded payload: always ``len(encode(payload))``."""

    def encode(self, payload: Payload) -> bytes:
        """The message.

        Raises:
            ValueError: a value that the payload's type cannot hold.
        """

    def decode(
        self, data: bytes, layout: Layout, known: Masks | None = None, dtype: str = DTYPE
    ) -> Payload:
        """The payload that was encoded.

        Args:
            data: the message.
            layout: of its tensors.
            known: the masks, where the receiver knows them already.
            dtype: in which the values of its matrices travelled.

        Raises:
            ValueError: not a message of this layout.
        """


class Tensorwise(ABC):
    """A codec that writes tensor after tensor, each on its own."""

    @abstractmethod
    def size(self, info: TensorInfo) -> int:
        """Bytes of one tensor."""

    @abstractmethod
    def write(self, info: TensorInfo, values: Floats, kept: Bools) -> bytes:
        """One tensor.

        Args:
            info: its counts.
            values: all its entries, row by row.
            kept: which of them are stored.
        """

    @abstractmethod
    def read(self, reader: Reader, info: TensorInfo) -> tuple[Floats, Bools]:
        """Its entries, and which of them were stored; of ``info``, the counts are not known."""

    def nbytes(self, manifest: Manifest) -> int:
        """The sum over tensors."""
        return sum(self.size(info) for info in manifest.tensors)

    def encode(self, payload: Payload) -> bytes:
        """Tensor after tensor."""
        masks = payload.masks
        parts = []
        for info in payload.manifest().tensors:
            values = payload.tensors[info.name].cpu().numpy().reshape(-1)
            every = np.ones(info.size, np.bool_)
            kept = every if masks is None else masks.views[info.name].cpu().numpy().reshape(-1) != 0
            parts.append(self.write(info, values, kept))
        return b"".join(parts)

    def decode(
        self, data: bytes, layout: Layout, known: Masks | None = None, dtype: str = DTYPE
    ) -> Payload:
        """Tensors, and masks of what was stored, zeros among it included."""
        reader = Reader(data)
        pairs = [self.read(reader, info) for info in infos_of(layout, dtype)]
        reader.end()
        return payload_of(layout, pairs, dtype)


def infos_of(layout: Layout, dtype: str) -> tuple[TensorInfo, ...]:
    """What a receiver knows of each tensor before it reads: all but the counts."""
    dense = Manifest(
        tensors=tuple(
            TensorInfo(name=name, shape=shape, dtype=DTYPE, nonzero=size)
            for name, shape, size in zip(layout.names, layout.shapes, layout.sizes, strict=True)
        )
    )
    return sent_as(dense, dtype).tensors


def payload_of(layout: Layout, pairs: list[tuple[Floats, Bools]], dtype: str) -> Payload:
    """From the entries of each tensor, and which of them were stored."""
    values, kept = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    masks = Masks(layout, torch.from_numpy(kept.astype(np.float32)))
    return Payload(NamedTensors(layout, torch.from_numpy(values)), masks, dtype=dtype)


def spread(stored: Floats, kept: Bools) -> Floats:
    """All entries of a tensor, zero where nothing was stored."""
    values = np.zeros(len(kept), np.float32)
    values[kept] = stored
    return values
