"""A message read from its beginning, and whole numbers of as many bytes as they need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LONGEST = 10  # bytes of a varint: 64 bits and more


class Reader:
    """Takes one thing after the other off a message.

    Args:
        data: the message.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: there are not as many.
        """
        end = self.at + count
        if end > len(self._data):
            raise ValueError(f"the message ends at byte {len(self._data)}, {end} are due")
        taken, self.at = self._data[self.at : end], end
        return taken

    def since(self, start: int) -> bytes:
        """What was taken from there on."""
        return self._data[start : self.at]

    def numbers(self, count: int, dtype: str) -> NDArray[np.generic]:
        """The next numbers of a type."""
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def bits(self, count: int) -> NDArray[np.bool_]:
        """The next bits, to the end of their last byte.

        Raises:
            ValueError: the bits that fill that byte are not zero.
        """
        bits = np.unpackbits(self.numbers(-(-count // 8), "<u1").astype(np.uint8)).astype(np.bool_)
        if bits[count:].any():
            raise ValueError(f"bits behind the last of {count} bits, before byte {self.at}")
        return bits[:count]

    def varint(self) -> int:
        """The next `varint`."""
        number = 0
        for index in range(_LONGEST):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << 7 * index
            if byte < 0x80 and (byte or not index):
                return number
            if not byte:
                break
        raise ValueError(f"no count ends at byte {self.at}")

    def end(self) -> None:
        """Nothing may follow.

        Raises:
            ValueError: something does.
        """
        if self.at < len(self._data):
            raise ValueError(f"{len(self._data) - self.at} bytes too many")


def varint(number: int) -> bytes:
    r"""LEB128: seven bits a byte, the lowest first.

    >>> varint(5), varint(300)
    (b'\x05', b'\xac\x02')
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def unsigned(largest: int) -> str:
    """The smallest unsigned type that holds a number.

    >>> unsigned(255), unsigned(256), unsigned(70_000)
    ('<u1', '<u2', '<u4')
    """
    return np.min_scalar_type(largest).newbyteorder("<").str.replace("|", "<")
