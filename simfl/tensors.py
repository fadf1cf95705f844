"""Named tensors packed in one vector, and the masks over them.

One vector per model keeps averaging, masking and copying to one operation each; the names are
views into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from simfl.work import DTYPE, Cached, Manifest, TensorInfo, sent_as


@dataclass(frozen=True)
class Layout(Cached):
    """The names and shapes of tensors packed one after the other."""

    interned: ClassVar = True
    """Among processes it crosses once; see `simfl.memo.pool`."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Entries per tensor."""
        return tuple(prod(shape) for shape in self.shapes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each tensor starts in the packed vector."""
        ends = [0]
        for size in self.sizes:
            ends.append(ends[-1] + size)
        return tuple(ends[:-1])

    @cached_property
    def size(self) -> int:
        """Entries of all tensors."""
        return sum(self.sizes)

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where each tensor lies in the packed vector."""
        parts = zip(self.names, self.offsets, self.sizes, strict=True)
        return {name: slice(start, start + size) for name, start, size in parts}

    @cached_property
    def shape_of(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return dict(zip(self.names, self.shapes, strict=True))

    @cached_property
    def matrices(self) -> tuple[str, ...]:
        """Tensors of two dimensions or more: matrices and kernels."""
        return tuple(n for n, s in zip(self.names, self.shapes, strict=True) if len(s) > 1)

    def sizes_within(self, entries: int) -> list[int]:
        """Entries of each of the first tensors, which have so many together."""
        return [size for size, at in zip(self.sizes, self.offsets, strict=True) if at < entries]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The named tensors as views into ``flat``, a vector of `size` entries."""
        parts = flat.split(list(self.sizes))
        return {n: p.view(s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}


@dataclass(frozen=True, eq=False)
class NamedTensors(Cached, Mapping[str, Tensor]):
    """A mapping of names to tensors over one packed vector ``flat``; never changed once built."""

    interned: ClassVar = True

    layout: Layout
    flat: Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return _packed, (type(self), self.layout, self.flat.cpu().numpy())

    @cached_property
    def _views(self) -> dict[str, Tensor]:
        return self.layout.views(self.flat)

    def __getitem__(self, name: str) -> Tensor:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.names)

    def __len__(self) -> int:
        return len(self.layout.names)

    @classmethod
    def pack(cls, tensors: Mapping[str, Tensor]) -> NamedTensors:
        """Copy tensors into one vector, in their order."""
        layout = Layout(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))
        return cls(layout, torch.cat([t.detach().reshape(-1) for t in tensors.values()]))


@dataclass(frozen=True, eq=False)
class Masks(Cached):
    """Which entries are kept: 1 or 0 for every entry of a layout; 1 where nothing was pruned."""

    interned: ClassVar = True

    layout: Layout
    flat: Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return _packed, (type(self), self.layout, self.flat.cpu().numpy())

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """Kept entries per tensor."""
        return tuple(int(part.sum()) for part in self.flat.split(list(self.layout.sizes)))

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of any tensors under these masks: the same object each time."""
        return _manifest(self.layout, self.kept)

    @cached_property
    def views(self) -> dict[str, Tensor]:
        """The mask of each tensor."""
        return self.layout.views(self.flat)


def _packed(kind: Callable[[Layout, Tensor], Any], layout: Layout, array: Any) -> Any:
    """Unpickle: as an array, a vector can be laid into memory that processes share."""
    return kind(layout, torch.from_numpy(array))


@dataclass(frozen=True, eq=False)
class Payload:
    """What is sent: tensors, with their masks where some entries are not.

    Attributes:
        known: whether the receiver knows the masks already; a codec may then leave them out.
        dtype: in which the values of matrices travel (tensors of two dimensions and more); theirs
            are values that it can hold. Vectors are float32.
    """

    tensors: NamedTensors
    masks: Masks | None = None
    known: bool = False
    dtype: str = DTYPE

    def manifest(self) -> Manifest:
        """Its counts."""
        counted = manifest_of(self.tensors, self.masks, known=self.known)
        return sent_as(counted, self.dtype)


@lru_cache(maxsize=1024)
def _manifest(layout: Layout, kept: tuple[int, ...], known: bool = False) -> Manifest:
    return Manifest(
        tensors=tuple(
            TensorInfo(
                name=name,
                shape=shape,
                dtype=DTYPE,
                nonzero=nonzero,
                # of what is whole there is nothing to know
                known=known and nonzero < prod(shape),
            )
            for name, shape, nonzero in zip(layout.names, layout.shapes, kept, strict=True)
        )
    )


def manifest_of(tensors: NamedTensors, masks: Masks | None, *, known: bool = False) -> Manifest:
    """Count stored entries: those the masks keep, or without masks all of them.

    A weight that happens to be zero is stored like any other.

    Args:
        tensors: what is counted.
        masks: over them.
        known: whether who is given them knows the masks; without masks there is nothing to know.
    """
    if masks is None:
        return _manifest(tensors.layout, tensors.layout.sizes)
    return _manifest(masks.layout, masks.kept, known=True) if known else masks.manifest
