"""Pickles with their arrays in memory that two processes share, and known parts by number."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

_ALIGNED: Final = 64
Place = tuple[int, int]
Body = tuple[bytes, list[Place]]


class Packer:
    """Pickles values, with their arrays laid one after the other into shared memory."""

    def __init__(self, shared: memoryview) -> None:
        self._shared = shared
        self._end = 0

    def pickled(self, value: Any, number_of: Callable[[Any], int | None]) -> Body:
        """A value; the parts that have a number by their number."""
        file = BytesIO()
        places: list[Place] = []

        def place(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            start = -(-self._end // _ALIGNED) * _ALIGNED
            if start + raw.nbytes > len(self._shared):
                # no room: pickle carries it
                return True
            self._shared[start : start + raw.nbytes] = raw
            self._end = start + raw.nbytes
            places.append((start, raw.nbytes))
            return False

        _Pickler(file, place, number_of).dump(value)
        return file.getvalue(), places


def unpacked(body: Body, shared: memoryview, numbered: Mapping[int, Any]) -> Any:
    """What was pickled; its arrays are copies."""
    data, places = body
    # copies: the memory is written over by what comes next
    buffers = [bytearray(shared[start : start + nbytes]) for start, nbytes in places]
    return _Unpickler(data, buffers, numbered).load()


class _Pickler(pickle.Pickler):
    def __init__(
        self,
        file: BytesIO,
        place: Callable[[pickle.PickleBuffer], bool],
        number_of: Callable[[Any], int | None],
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=place)
        self._number_of = number_of

    def persistent_id(self, part: Any) -> int | None:
        return self._number_of(part)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: list[bytearray], numbered: Mapping[int, Any]) -> None:
        super().__init__(BytesIO(data), buffers=buffers)
        self._numbered = numbered

    def persistent_load(self, number: int) -> Any:
        return self._numbered[number]
