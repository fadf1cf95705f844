from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import log2, prod
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.codecs.base import Codec
from simfl.codecs.bitmap import Bitmap, BitmapOptions
from simfl.codecs.coo import Coo, CooOptions
from simfl.codecs.csr import Csr
from simfl.codecs.delta_index import DeltaIndex, DeltaIndexOptions
from simfl.codecs.dense import Dense, DenseOptions
from simfl.codecs.matrices import MatrixOptions
from simfl.codecs.reading import varint
from simfl.codecs.scipy_csr import ScipyCsr, ScipyCsrOptions
from simfl.codecs.values_only import ValuesOnly, ValuesOnlyOptions
from simfl.learning.quantize import quantised
from simfl.registry import CODECS
from simfl.tensors import Layout, Masks, NamedTensors, Payload
from simfl.work import Manifest, TensorInfo

Shape = tuple[int, ...]
DTYPES = ("float32", "float16", "int8")
ODD = (float("nan"), float("inf"), float("-inf"), -0.0, 1e-45, -1e-40, 3e38, 6e-8)


def every_codec() -> Iterator[Any]:
    """Each registered codec under each combination of its options' words and switches."""
    for name in CODECS.names():
        plugin = CODECS.get(name)
        words = {
            key: (True, False) if field.annotation is bool else get_args(field.annotation)
            for key, field in plugin.options.model_fields.items()
        }
        for chosen in product(*words.values()):
            options = plugin.options(**dict(zip(words, chosen, strict=True)))
            yield pytest.param(plugin.build(options), id="-".join((name, *map(str, chosen))))


CODEC = pytest.mark.parametrize("codec", list(every_codec()))
SHAPES = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([(1, 1), (2, 300), (300, 2), (3, 16), (256, 1), (1, 257), (20, 40)]),
    st.sampled_from([(), (0,), (0, 5), (5, 0), (2, 0, 3)]),
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
    odd: bool = False
    dtype: Any = "float32"
    known: bool = False

    def payload(self) -> Payload:
        generator = torch.Generator().manual_seed(self.seed)
        tensors, kept = {}, []
        for number, (shape, density) in enumerate(zip(self.shapes, self.densities, strict=True)):
            mask = (torch.rand(shape, generator=generator) < density).float()
            value = torch.randn(shape, generator=generator)
            if self.zeros:
                # zeros that training left under the mask are kept entries like any other
                value *= (torch.rand(shape, generator=generator) < 0.5).float()
            if self.odd:
                chosen = torch.randint(len(ODD), shape, generator=generator)
                value = torch.where(
                    torch.rand(shape, generator=generator) < 0.3, torch.tensor(ODD)[chosen], value
                )
            name = f"t{number}" + (".running_var" if number == 1 else "")
            tensors[name] = torch.where(mask > 0, value, 0.0) if self.masked else value
            kept.append(mask.reshape(-1))
        packed = NamedTensors.pack(tensors)
        masks = Masks(packed.layout, torch.cat(kept)) if self.masked else None
        payload = Payload(packed, masks, known=self.known)
        return payload if self.dtype == "float32" else quantised(payload, self.dtype)


@st.composite
def drawings(draw: st.DrawFn) -> Drawn:
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=4))
    densities = draw(st.lists(DENSITIES, min_size=len(shapes), max_size=len(shapes)))
    return Drawn(
        tuple(shapes),
        tuple(densities),
        masked=draw(st.booleans()),
        zeros=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
        odd=draw(st.booleans()),
        dtype=draw(st.sampled_from(DTYPES)),
        known=draw(st.booleans()),
    )


def decoded(codec: Codec, message: bytes, payload: Payload) -> Payload:
    """As a receiver decodes it that knows what the payload says it knows."""
    known = payload.masks if payload.known else None
    return codec.decode(message, payload.tensors.layout, known, payload.dtype)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Also of NaN and -0.0."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


@CODEC
@given(drawings())
def test_round_trip_and_size_from_counts(codec: Codec, drawn: Drawn) -> None:
    payload = drawn.payload()
    message = codec.encode(payload)
    assert codec.nbytes(payload.manifest()) == len(message)
    back = decoded(codec, message, payload)
    assert same_bits(back.tensors.flat, payload.tensors.flat)
    assert back.tensors.flat.dtype == torch.float32
    assert back.dtype == payload.dtype
    # the payload itself is as it was
    assert same_bits(drawn.payload().tensors.flat, payload.tensors.flat)


@CODEC
@given(drawings())
def test_what_is_decoded_stands_on_its_own(codec: Codec, drawn: Drawn) -> None:
    payload = drawn.payload()
    message = codec.encode(payload)
    decoded(codec, message, payload).tensors.flat.add_(1)
    assert codec.encode(payload) == message
    assert same_bits(decoded(codec, message, payload).tensors.flat, payload.tensors.flat)


@CODEC
@given(drawings())
def test_what_is_decoded_is_encoded_to_the_same_bytes(codec: Codec, drawn: Drawn) -> None:
    payload = drawn.payload()
    message = codec.encode(payload)
    back = decoded(codec, message, payload)
    # of a matrix that went dense for its size, the masks are guessed
    if not getattr(codec, "smaller", False):
        assert codec.encode(back) == message


@CODEC
@given(drawings(), st.data())
def test_a_message_cut_short_or_too_long_is_refused(
    codec: Codec, drawn: Drawn, data: st.DataObject
) -> None:
    payload = drawn.payload()
    message = codec.encode(payload)
    if message:
        cut = data.draw(st.integers(0, len(message) - 1))
        with pytest.raises(ValueError, match=r"ends|bytes"):
            decoded(codec, message[:cut], payload)
    with pytest.raises(ValueError, match="bytes"):
        decoded(codec, message + b"\0", payload)


@CODEC
@given(drawings(), st.data())
def test_a_message_that_was_changed_is_refused_or_is_of_the_same_tensors(
    codec: Codec, drawn: Drawn, data: st.DataObject
) -> None:
    """Bits of values can be any; nothing else than ValueError comes of the others."""
    payload = drawn.payload()
    message = bytearray(codec.encode(payload))
    for _ in range(data.draw(st.integers(1, 3)) if message else 0):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = decoded(codec, bytes(message), payload)
    except ValueError:
        return
    layout = payload.tensors.layout
    assert back.tensors.layout == layout
    assert back.tensors.flat.shape == (layout.size,)
    assert back.masks is None or set(back.masks.flat.tolist()) <= {0.0, 1.0}


@CODEC
@given(drawings(), st.binary(max_size=40))
def test_whatever_else_comes_is_refused(codec: Codec, drawn: Drawn, noise: bytes) -> None:
    payload = drawn.payload()
    if len(noise) != len(codec.encode(payload)):
        try:
            back = decoded(codec, noise, payload)
        except ValueError:
            return
        # other counts may be of another length
        assert back.tensors.flat.shape == payload.tensors.flat.shape


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("name", CODECS.names())
def test_values_that_the_type_cannot_hold_are_refused(name: str, dtype: str) -> None:
    plugin = CODECS.get(name)
    third = Payload(NamedTensors.pack({"w": torch.tensor([[1 / 3, 2]])}), dtype=dtype)
    with pytest.raises(ValueError, match=f"{dtype} can hold; quantise"):
        plugin.build(plugin.options()).encode(third)


# of codecs that tell the masks of all tensors, and of those with two dimensions and more
ALL = (
    *(Bitmap(BitmapOptions()), DeltaIndex(DeltaIndexOptions())),
    ValuesOnly(ValuesOnlyOptions()),
)
MATRICES = (
    *(Coo(CooOptions(convolutions="coo")), Csr(MatrixOptions())),
    ScipyCsr(ScipyCsrOptions()),
)


@pytest.mark.parametrize("codec", [*ALL, *MATRICES], ids=lambda codec: type(codec).__name__)
@given(drawings())
def test_zeros_under_masks_are_kept(codec: Codec, drawn: Drawn) -> None:
    payload = replace(drawn, masked=True, zeros=True).payload()
    back = decoded(codec, codec.encode(payload), payload)
    assert payload.masks is not None
    assert back.masks is not None
    for (name, mask), shape in zip(payload.masks.views.items(), drawn.shapes, strict=True):
        told = codec in ALL or len(shape) > 1
        assert torch.equal(back.masks.views[name], mask if told else torch.ones_like(mask))


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


@pytest.mark.parametrize(
    ("stored", "wide", "nbytes"),
    [
        # a count, eleven pointers, a column and a value for each entry
        (0, 100, 1 + 11),
        (100, 100, 1 + 11 + 100 * 5),
        (255, 256, 2 + 11 + 255 * 5),
        (256, 257, 2 + 2 * 11 + 256 * 6),
        (1000, 100, 2 + 4 * 1000),  # nothing is missing
    ],
)
def test_bytes_of_csr(stored: int, wide: int, nbytes: int) -> None:
    assert len(Csr(MatrixOptions()).encode(with_stored(stored, (10, wide)))) == nbytes


def test_csr_byte_by_byte() -> None:
    payload = pruned(w=torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]))
    values = b"\x00\x00\x80\x3f" + b"\x00\x00\x00\x40"
    assert Csr(MatrixOptions()).encode(payload) == b"\x02" + b"\0\1\1\2" + b"\1\0" + values


@pytest.mark.parametrize(
    "message",
    [
        b"\x02\1\1\1\2\1\0",  # does not begin with 0
        b"\x02\0\2\1\2\1\0",  # falls
        b"\x02\0\1\1\1\1\0",  # ends too early
        b"\x02\0\1\1\2\2\0",  # column 2 of 2
        b"\x02\0\2\2\2\1\0",  # columns of a row fall
        b"\x02\0\2\2\2\1\1",  # twice the same
    ],
)
def test_csr_that_is_none(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"pointers|column|rise"):
        Csr(MatrixOptions()).decode(message + bytes(8), Layout(("w",), ((3, 2),)))


def test_bytes_of_a_bitmap() -> None:
    codec = Bitmap(BitmapOptions())
    assert len(codec.encode(with_stored(30, (10, 11)))) == 1 + 14 + 4 * 30
    assert len(codec.encode(with_stored(110, (10, 11)))) == 1 + 4 * 110
    payload = pruned(w=torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    assert codec.encode(payload) == b"\x01" + b"\x40" + b"\x00\x00\x80\x3f"


@pytest.mark.parametrize("message", [b"\x02\x40", b"\x01\xc0", b"\x01\x41", b"\x05\xf0", b"\x81\0"])
def test_a_bitmap_that_is_none(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"bits|entries|count|ends|bytes"):
        Bitmap(BitmapOptions()).decode(message + bytes(4), Layout(("w",), ((2, 2),)))


@given(st.integers(1, 5000), st.floats(0, 1), st.integers(0, 99))
def test_a_position_of_elias_and_fano_takes_two_bits_and_the_logarithm(
    size: int, density: float, seed: int
) -> None:
    kept = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < density
    stored, codec = int(kept.sum()), DeltaIndex(DeltaIndexOptions())
    if 0 < stored < size:
        bits = 8 * (len(codec.encode(pruned(w=kept.float()))) - len(varint(stored)) - 4 * stored)
        assert bits <= stored * (2 + log2(size / stored)) + 14


def test_elias_and_fano_bit_by_bit() -> None:
    w = torch.zeros(1, 16)
    w[0, [3, 4, 13]] = 1  # of 16, 3: two low bits 11 00 01, high ones 0 1 3 as 1 01 001
    message = DeltaIndex(DeltaIndexOptions()).encode(pruned(w=w))
    assert message[:3] == bytes([3, 0b11000100, 0b10100100])


@pytest.mark.parametrize(
    "halves", [b"\xc4\x24", b"\xc4\xa6", b"\xc5\xa4", b"\xc4\xa5", b"\x30\xe0"]
)
def test_elias_and_fano_that_is_none(halves: bytes) -> None:
    message = bytes([3]) + halves + bytes(12)
    with pytest.raises(ValueError, match=r"gaps|bits|rise"):
        DeltaIndex(DeltaIndexOptions()).decode(message, Layout(("w",), ((1, 16),)))


def test_values_only_where_the_masks_are_known() -> None:
    codec, unknown = ValuesOnly(ValuesOnlyOptions()), with_stored(30, (10, 11))
    known = replace(unknown, known=True)
    layout = known.tensors.layout
    assert len(codec.encode(known)) == codec.nbytes(known.manifest()) == 1 + 4 * 30
    assert len(codec.encode(unknown)) == codec.nbytes(unknown.manifest()) == 1 + 1 + 14 + 4 * 30
    back = codec.decode(codec.encode(known), layout, known.masks)
    assert back.masks is known.masks
    assert back.known
    assert not codec.decode(codec.encode(unknown), layout).known
    with pytest.raises(ValueError, match="know the masks; give them"):
        codec.decode(codec.encode(known), layout)
    fewer = Masks(layout, torch.zeros(layout.size))
    with pytest.raises(ValueError, match="too many"):
        codec.decode(codec.encode(known), layout, fewer)
    with pytest.raises(ValueError, match="does not begin with 2"):
        codec.decode(b"\x02", layout)


def test_bytes_of_quantised_values() -> None:
    tensors = {"w": torch.rand(8, 5), "b": torch.rand(8)}
    payload, codec = Payload(NamedTensors.pack(tensors)), Dense(DenseOptions())
    sizes = {d: len(codec.encode(quantised(payload, d))) for d in ("float16", "int8")}
    assert sizes == {"float16": 2 * 40 + 4 * 8, "int8": 4 + 40 + 4 * 8}


@pytest.mark.parametrize("scale", [b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xbf"])
def test_a_scale_that_is_none(scale: bytes) -> None:
    with pytest.raises(ValueError, match="scale"):
        Dense(DenseOptions()).decode(scale + b"\1", Layout(("w",), ((1, 1),)), dtype="int8")


@pytest.mark.parametrize("at", [0, 26, 60, 150, 210, 400, -60, -5])
def test_a_byte_of_a_zip_file_that_is_wrong(at: int) -> None:
    payload, codec = with_stored(3, (4, 5)), ScipyCsr(ScipyCsrOptions())
    message = bytearray(codec.encode(payload))
    message[at] ^= 1
    with pytest.raises(ValueError, match=r"no file of NumPy|are said|ends|column|pointers"):
        codec.decode(bytes(message), payload.tensors.layout)


def counts(stored: int, shape: Shape, dtype: str, *, known: bool) -> Manifest:
    info = TensorInfo(name="w", shape=shape, dtype=dtype, nonzero=stored, known=known)
    return Manifest(tensors=(info,))


def break_even(codec: Codec, shape: Shape, dtype: str, *, known: bool) -> float:
    """The highest density at which a message is smaller than the dense one."""
    size, dense = prod(shape), Dense(DenseOptions())
    limit = dense.nbytes(counts(size, shape, dtype, known=False))

    def nbytes(stored: int) -> int:
        return codec.nbytes(counts(stored, shape, dtype, known=known))

    return (bisect(range(size), limit - 1, key=nbytes) - 1) / size


@pytest.mark.parametrize(
    ("name", "options", "linear", "conv"),
    [  # as docs/codecs.md has them, by float32, float16 and int8
        ("coo", {"convolutions": "coo"}, (0.50, 0.33, 0.20), (0.50, 0.33, 0.20)),
        ("csr", {}, (0.67, 0.50, 0.33), (0.67, 0.50, 0.33)),
        ("bitmap", {}, (0.97, 0.94, 0.87), (0.97, 0.94, 0.87)),
        ("delta_index", {}, (0.94, 0.88, 0.78), (0.94, 0.88, 0.78)),
        ("values_only", {}, (1.00, 1.00, 1.00), (1.00, 1.00, 1.00)),
        ("scipy_csr", {"rows": "outputs"}, (0.50, 0.33, 0.20), (0.50, 0.33, 0.20)),
        ("scipy_csr", {}, (0.50, 0.33, 0.20), (0.33, 0.11, 0.00)),
    ],
)
def test_when_it_pays(
    name: str, options: dict[str, Any], linear: tuple[float, ...], conv: tuple[float, ...]
) -> None:
    plugin = CODECS.get(name)
    codec = plugin.build(plugin.options(**options))
    for shape, densities in (((300, 784), linear), ((512, 512, 3, 3), conv)):
        for dtype, density in zip(DTYPES, densities, strict=True):
            found = break_even(codec, shape, dtype, known=name == "values_only")
            assert found == pytest.approx(density, abs=0.0051)
