"""What an application puts around a message, and how long it takes to write and read it.

Sources: RFC 9113 (HTTP/2), sections 4.1 (a frame has 9 bytes of header) and 4.2 (no more than
16,384 bytes in it unless both ends agree); gRPC over HTTP2 (grpc/doc/PROTOCOL-HTTP2.md: each
message behind a flag and a length, 5 bytes); Protocol Buffers, Encoding (a bytes field is a tag, a
varint with the length, the bytes); NumPy, NEP 1 (.npy version 1.0: the header is padded to 64
bytes; that of a tensor of up to about ten dimensions takes 128).
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from simfl.options import Duration, Positive, Shorthand, Throughput

_FRAME_BYTES: Final = 16_384
_FRAME_HEADER_BYTES: Final = 9
_PREFIX_BYTES: Final = 5
_NPY_HEADER_BYTES: Final = 128


class Framing(Shorthand):
    """How messages are wrapped. In a scenario also by its kind alone: ``framing: grpc``.

    Attributes:
        kind: ``none``; ``http2``, frames of 16,384 bytes; ``grpc``, the message as one protobuf
            field, a length prefix, and HTTP/2's frames; ``flower``, the same with every tensor an
            .npy array in a field of its own, as in Flower's ``Parameters``. HTTP's header fields
            (some hundred bytes a connection, a few dozen a message) are left out.
        tensors: how many a message has; ``flower`` needs it.
        serialisation: bytes per second at which both ends together write and read a message;
            without it that time is not charged.
        handling: what both ends together spend on a message of any size: threads, system calls.
    """

    shorthand: ClassVar[str] = "kind"

    kind: Literal["none", "grpc", "http2", "flower"] = "none"
    tensors: Positive | None = None
    serialisation: Throughput | None = None
    handling: Duration = 0.0

    @model_validator(mode="after")
    def _countable(self) -> Framing:
        if self.kind == "flower" and self.tensors is None:
            raise PydanticCustomError(
                "tensors", "flower wraps each tensor; give tensors, how many the model has"
            )
        return self

    def wire_bytes(self, nbytes: int) -> int:
        """Bytes that the transport is given for a message of ``nbytes``.

        >>> Framing(kind="grpc").wire_bytes(1_000_000) - 1_000_000
        567
        """
        if self.kind == "none":
            return nbytes
        if self.kind == "flower":
            assert self.tensors is not None
            each = -(-nbytes // self.tensors)
            nbytes += self.tensors * (_NPY_HEADER_BYTES + _field_bytes(_NPY_HEADER_BYTES + each))
        if self.kind != "http2":
            nbytes += _field_bytes(nbytes) + _PREFIX_BYTES
        frames = max(-(-nbytes // _FRAME_BYTES), 1)
        return nbytes + frames * _FRAME_HEADER_BYTES

    def seconds(self, nbytes: int) -> float:
        """Seconds of handling, writing and reading a message."""
        return self.handling + (nbytes / self.serialisation if self.serialisation else 0.0)


def _field_bytes(nbytes: int) -> int:
    """A tag of one byte (field numbers below 16) and the length, seven bits a byte."""
    return 1 + max(-(-nbytes.bit_length() // 7), 1)


UNFRAMED: Final = Framing()
"""A message travels as the codec makes it."""
