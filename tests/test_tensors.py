import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.tensors import Layout, Masks, NamedTensors, Payload, manifest_of

SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=4).map(tuple), min_size=1, max_size=5)


def some_tensors() -> dict[str, torch.Tensor]:
    return {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor([0.0, 7.0])}


def test_packing_copies_in_order() -> None:
    tensors = some_tensors()
    packed = NamedTensors.pack(tensors)
    assert packed.flat.tolist() == [0, 1, 2, 3, 4, 5, 0, 7]
    assert list(packed) == ["w", "b"]
    assert len(packed) == 2
    tensors["w"].zero_()
    assert packed["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_names_are_views_into_one_vector() -> None:
    packed = NamedTensors.pack(some_tensors())
    packed.flat[5] = 50
    assert packed["w"][1, 2] == 50
    assert packed["b"].untyped_storage().data_ptr() == packed.flat.untyped_storage().data_ptr()


@given(SHAPES)
def test_a_layout_tiles_its_vector(shapes: list[tuple[int, ...]]) -> None:
    layout = Layout(tuple(map(str, range(len(shapes)))), tuple(shapes))
    flat = torch.arange(float(layout.size))
    views = layout.views(flat)
    assert [tuple(view.shape) for view in views.values()] == shapes
    assert torch.equal(torch.cat([view.reshape(-1) for view in views.values()]), flat)
    assert [int(view.reshape(-1)[0]) for view in views.values()] == list(layout.offsets)
    assert [view.numel() for view in views.values()] == list(layout.sizes)


def test_masks_count_what_they_keep_zeros_included() -> None:
    packed = NamedTensors.pack(some_tensors())
    masks = Masks(packed.layout, torch.tensor([1.0, 1, 0, 0, 0, 1, 1, 1]))
    assert masks.kept == (3, 2)
    assert masks.views["w"].tolist() == [[1, 1, 0], [0, 0, 1]]
    manifest = Payload(packed, masks).manifest()
    assert [(t.name, t.shape, t.dtype, t.nonzero) for t in manifest.tensors] == [
        ("w", (2, 3), "float32", 3),
        ("b", (2,), "float32", 2),
    ]
    assert (manifest.size, manifest.nonzero) == (8, 5)
    assert [t.pruned for t in manifest.tensors] == [True, False]


def test_without_masks_every_entry_counts() -> None:
    manifest = manifest_of(NamedTensors.pack(some_tensors()), None)
    assert [t.nonzero for t in manifest.tensors] == [6, 2]


def test_equal_counts_are_equal_manifests() -> None:
    layout = NamedTensors.pack(some_tensors()).layout
    one = Masks(layout, torch.tensor([1.0, 0, 0, 0, 0, 0, 1, 1])).manifest
    other = Masks(layout, torch.tensor([0.0, 0, 0, 0, 0, 1, 1, 1])).manifest
    assert one == other
    assert hash(one) == hash(other)
    assert one != Masks(layout, torch.ones(8)).manifest


@pytest.mark.parametrize("looked_at", [False, True])
def test_pickling_keeps_values_and_drops_what_was_derived(looked_at: bool) -> None:
    packed = NamedTensors.pack(some_tensors())
    masks = Masks(packed.layout, torch.ones(8))
    if looked_at:
        assert packed["b"][1] == 7
        assert masks.kept == (6, 2)
        assert hash(masks.manifest) == hash(masks.manifest)
    again, kept = pickle.loads(pickle.dumps((packed, masks)))
    assert again.layout == packed.layout
    assert torch.equal(again.flat, packed.flat)
    assert again["w"].untyped_storage().data_ptr() == again.flat.untyped_storage().data_ptr()
    assert kept.manifest == masks.manifest
