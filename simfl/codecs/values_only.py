"""Values only: to a receiver that knows which entries are stored, nothing but their values.

The first byte says whether it does. If so, each tensor is the values of its stored entries; if not,
it goes as in `bitmap`.
"""

from __future__ import annotations

from simfl.codecs.base import Bools, Codec, Floats, infos_of, payload_of, spread
from simfl.codecs.bitmap import Bitmap, BitmapOptions
from simfl.codecs.reading import Reader
from simfl.codecs.values import read_values, value_bytes, write_values
from simfl.options import Options
from simfl.registry import CODECS
from simfl.tensors import Layout, Masks, Payload
from simfl.work import DTYPE, Manifest, TensorInfo


class ValuesOnlyOptions(Options):
    """No options."""


@CODECS.register("values_only", options=ValuesOnlyOptions)
class ValuesOnly(Bitmap):
    """A byte, and 4 bytes a stored float32; with a bitmap for each pruned tensor if need be."""

    def __init__(self, options: ValuesOnlyOptions) -> None:
        super().__init__(BitmapOptions())

    def size(self, info: TensorInfo) -> int:
        """Values alone where the receiver knows which they are."""
        return value_bytes(info.nonzero, info.dtype) if info.known else super().size(info)

    def write(self, info: TensorInfo, values: Floats, kept: Bools) -> bytes:
        """Values alone where the receiver knows which they are."""
        if info.known:
            return write_values(values[kept], info.dtype)
        return super().write(info, values, kept)

    def nbytes(self, manifest: Manifest) -> int:
        """The first byte, and the tensors."""
        return 1 + super().nbytes(manifest)

    def encode(self, payload: Payload) -> bytes:
        """The first byte, and the tensors."""
        known = any(info.known for info in payload.manifest().tensors)
        return bytes([known]) + super().encode(payload)

    def decode(
        self, data: bytes, layout: Layout, known: Masks | None = None, dtype: str = DTYPE
    ) -> Payload:
        """Tensors and masks: those that came, or that were known.

        Raises:
            ValueError: no such message, or it takes masks that are not known.
        """
        first = Reader(data).take(1)[0]
        if first > 1:
            raise ValueError(f"a message does not begin with {first}")
        if not first:
            return super().decode(data[1:], layout, dtype=dtype)
        if known is None:
            raise ValueError("the message is for receivers that know the masks; give them")
        reader = Reader(data[1:])
        pairs: list[tuple[Floats, Bools]] = []
        for info in infos_of(layout, dtype):
            kept = known.views[info.name].cpu().numpy().reshape(-1) != 0
            if kept.all():
                # of what is whole there was nothing to know
                pairs.append(self.read(reader, info))
                continue
            stored = read_values(reader, int(kept.sum()), info.dtype)
            pairs.append((spread(stored, kept), kept))
        reader.end()
        payload = payload_of(layout, pairs, dtype)
        return Payload(payload.tensors, known, known=True, dtype=dtype)


_: type[Codec] = ValuesOnly
