from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.codecs.base import Codec
from simfl.codecs.coo import Coo, CooOptions
from simfl.registry import CODECS
from simfl.tensors import Layout, Masks, NamedTensors, Payload

Shape = tuple[int, ...]


def every_codec() -> Iterator[Any]:
    """Each registered codec under each combination of its options' words."""
    for name in CODECS.names():
        plugin = CODECS.get(name)
        words = {key: get_args(f.annotation) for key, f in plugin.options.model_fields.items()}
        for chosen in product(*words.values()):
            options = plugin.options(**dict(zip(words, chosen, strict=True)))
            yield pytest.param(plugin.build(options), id="-".join((name, *chosen)))


CODEC = pytest.mark.parametrize("codec", list(every_codec()))
SHAPES = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([(1, 1), (2, 300), (300, 2), (3, 16), (256, 1), (1, 257)]),
    st.tuples(*[st.integers(1, 4)] * 4),
)
DENSITIES = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


@dataclass(frozen=True)
class Drawn:
    """What a payload is made from; small enough to be printed when a test fails."""

    shapes: tuple[Shape, ...]
    densities: tuple[float, ...]
    masked: bool
    zeros: bool
    seed: int

    def payload(self) -> Payload:
        generator = torch.Generator().manual_seed(self.seed)
        tensors, kept = {}, []
        for number, (shape, density) in enumerate(zip(self.shapes, self.densities, strict=True)):
            mask = (torch.rand(shape, generator=generator) < density).float()
            value = torch.randn(shape, generator=generator)
            if self.zeros:
                # zeros that training left under the mask are kept entries like any other
                value *= (torch.rand(shape, generator=generator) < 0.5).float()
            tensors[f"t{number}"] = value * mask
            kept.append(mask.reshape(-1))
        packed = NamedTensors.pack(tensors)
        return Payload(packed, Masks(packed.layout, torch.cat(kept)) if self.masked else None)


@st.composite
def drawings(draw: st.DrawFn) -> Drawn:
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=4))
    densities = draw(st.lists(DENSITIES, min_size=len(shapes), max_size=len(shapes)))
    masked, zeros = draw(st.booleans()), draw(st.booleans())
    return Drawn(tuple(shapes), tuple(densities), masked, zeros, draw(st.integers(0, 99)))


@CODEC
@given(drawings())
def test_round_trip_and_size_from_counts(codec: Codec, drawn: Drawn) -> None:
    payload = drawn.payload()
    message = codec.encode(payload)
    assert codec.nbytes(payload.manifest()) == len(message)
    back = codec.decode(message, payload.tensors.layout)
    assert torch.equal(back.tensors.flat, payload.tensors.flat)
    assert back.tensors.flat.dtype == torch.float32
    # the payload itself is as it was
    again = drawn.payload()
    assert torch.equal(again.tensors.flat, payload.tensors.flat)


@CODEC
@given(drawings())
def test_what_is_decoded_stands_on_its_own(codec: Codec, drawn: Drawn) -> None:
    payload = drawn.payload()
    message = codec.encode(payload)
    back = codec.decode(message, payload.tensors.layout)
    back.tensors.flat.add_(1)
    assert codec.encode(payload) == message
    again = codec.decode(message, payload.tensors.layout)
    assert torch.equal(again.tensors.flat, payload.tensors.flat)


@CODEC
@given(drawings(), st.data())
def test_a_message_cut_short_or_too_long_is_refused(
    codec: Codec, drawn: Drawn, data: st.DataObject
) -> None:
    payload = drawn.payload()
    message, layout = codec.encode(payload), payload.tensors.layout
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(ValueError, match=r"ends|bytes"):
        codec.decode(message[:cut], layout)
    with pytest.raises(ValueError, match="bytes"):
        codec.decode(message + b"\0", layout)


@given(drawings())
def test_coo_keeps_zeros_under_masks(drawn: Drawn) -> None:
    payload = Drawn(drawn.shapes, drawn.densities, True, True, drawn.seed).payload()
    codec = Coo(CooOptions(convolutions="coo"))
    back = codec.decode(codec.encode(payload), payload.tensors.layout)
    assert payload.masks is not None
    assert back.masks is not None
    for (name, mask), shape in zip(payload.masks.views.items(), drawn.shapes, strict=True):
        expected = mask if len(shape) > 1 else torch.ones_like(mask)
        assert torch.equal(back.masks.views[name], expected)


def pruned(**tensors: torch.Tensor) -> Payload:
    """A payload whose masks keep what is not zero."""
    packed = NamedTensors.pack(tensors)
    return Payload(packed, Masks(packed.layout, (packed.flat != 0).float()))


def with_stored(stored: int, shape: Shape) -> Payload:
    """A matrix of which the first entries are stored."""
    flat = torch.zeros(prod(shape))
    flat[:stored] = 1
    return pruned(w=flat.view(shape))


@pytest.mark.parametrize(
    ("longest", "index_bytes"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4), (70_000, 4)]
)
@pytest.mark.parametrize("wide", [True, False])
def test_index_types_at_their_borders(longest: int, index_bytes: int, wide: bool) -> None:
    last = longest - 1
    shape, place = ((2, longest), (1, last)) if wide else ((longest, 2), (last, 1))
    matrix = torch.zeros(shape)
    matrix[0, 0], matrix[place] = 1, 2
    payload = pruned(w=matrix)
    codec = Coo(CooOptions())
    message = codec.encode(payload)
    # a count, then two entries of two indices and a float32
    assert len(message) == 1 + 2 * (2 * index_bytes + 4)
    assert codec.nbytes(payload.manifest()) == len(message)
    back = codec.decode(message, payload.tensors.layout)
    assert torch.equal(back.tensors.flat, payload.tensors.flat)


@pytest.mark.parametrize(
    ("stored", "varint"), [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)]
)
def test_counts_are_varints(stored: int, varint: int) -> None:
    assert len(Coo(CooOptions()).encode(with_stored(stored, (200, 200)))) == varint + stored * 6


def test_the_message_byte_by_byte() -> None:
    payload = pruned(w=torch.tensor([[0.0, 1.0], [2.0, 0.0]]), b=torch.tensor([3.0]))
    floats = {1: b"\x00\x00\x80\x3f", 2: b"\x00\x00\x00\x40", 3: b"\x00\x00\x40\x40"}
    expected = b"\x02" + b"\x00\x01" + b"\x01\x00" + floats[1] + floats[2] + floats[3]
    assert Coo(CooOptions()).encode(payload) == expected


@pytest.mark.parametrize(
    ("dense_when", "stored", "nbytes"),
    [
        ("unpruned", 100, 1 + 400),  # nothing pruned: dense
        ("unpruned", 99, 1 + 99 * 6),  # sparse even where that is larger
        ("smaller", 99, 1 + 400),
        ("smaller", 67, 1 + 400),
        ("smaller", 66, 1 + 66 * 6),
    ],
)
def test_when_a_matrix_goes_dense(dense_when: Any, stored: int, nbytes: int) -> None:
    payload = with_stored(stored, (10, 10))
    assert len(Coo(CooOptions(dense_when=dense_when)).encode(payload)) == nbytes


def test_a_weight_that_happens_to_be_zero_is_stored() -> None:
    payload = Payload(NamedTensors.pack({"w": torch.tensor([[0.0, 1.0], [2.0, 3.0]])}))
    assert len(Coo(CooOptions()).encode(payload)) == 1 + 4 * 4


def test_sixteen_bit_indices_break_even_at_half_density() -> None:
    # Jiang et al. 2019, eq. (2): 4 + 2 x 2 bytes an entry against 4
    manifest, count = with_stored(300 * 392, (300, 784)).manifest(), 3
    assert Coo(CooOptions()).nbytes(manifest) - count == 4 * 300 * 784


def test_an_index_out_of_the_matrix_is_refused() -> None:
    message = b"\x01" + b"\x07" + b"\x00" + b"\x00\x00\x80\x3f"
    with pytest.raises(ValueError, match="exceeds"):
        Coo(CooOptions()).decode(message, Layout(("w",), ((2, 3),)))
