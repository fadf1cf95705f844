"""What a codec is: payload to bytes and back, and the size known from counts alone.

Both ends know the architecture (it is part of the experiment), so names and shapes do not travel:
a message holds the tensors in the architecture's order.
"""

from __future__ import annotations

from typing import Protocol

from simfl.tensors import Layout, Masks, Payload
from simfl.work import Manifest


class Codec(Protocol):
    """Lossless; a lossy codec is a step of the algorithm, since it changes what is computed."""

    def nbytes(self, manifest: Manifest) -> int:
        """Bytes of the encoded payload: always ``len(encode(payload))``."""

    def encode(self, payload: Payload) -> bytes:
        """The message."""

    def decode(self, data: bytes, layout: Layout, known: Masks | None = None) -> Payload:
        """The payload that was encoded.

        Args:
            data: the message.
            layout: of its tensors.
            known: the masks, where the receiver knows them already.

        Raises:
            ValueError: not a message of this layout.
        """
