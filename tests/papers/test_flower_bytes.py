"""Bytes that a study of structured pruning on Flower counts, one way, of one client and round."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn
from torch.nn.utils import prune

from simfl.codecs.scipy_csr import ScipyCsr, ScipyCsrOptions
from simfl.learning.network import floats_of
from simfl.registry import MODELS
from simfl.tensors import Masks, NamedTensors, Payload
from simfl.work import Manifest

STUDY = ScipyCsr(ScipyCsrOptions())
OUTPUTS = ScipyCsr(ScipyCsrOptions(rows="outputs"))
# a share of each layer's rows removed, by their L1 norm: bytes
STRUCTURED = {
    **{0.1: 330_239, 0.2: 295_151, 0.3: 259_623, 0.4: 224_535, 0.5: 189_007},
    **{0.6: 153_479, 0.7: 118_391, 0.8: 82_863, 0.9: 47_775},
}


def module_of(name: str, images: tuple[int, int, int]) -> nn.Module:
    plugin = MODELS.get(name)
    built: nn.Module = plugin.build(plugin.options(), classes=10, sample_shape=images).build()
    return built


def payload_of(module: nn.Module) -> Payload:
    """Its state; what is not zero in a matrix is kept."""
    packed = NamedTensors.pack(floats_of(module))
    kept = [t != 0 if t.dim() > 1 else torch.ones_like(t) for t in packed.values()]
    return Payload(packed, Masks(packed.layout, torch.cat([k.reshape(-1).float() for k in kept])))


@cache
def resnet12(channels: int, side: int) -> Manifest:
    module = module_of("resnet12", (channels, side, side))
    state = module.state_dict()
    if channels == 3:
        assert sum(p.numel() for p in module.parameters()) == 17_444_682
        assert sum(t.numel() for t in state.values()) == 17_458_150
    return Payload(NamedTensors.pack(floats_of(module))).manifest()


@pytest.mark.parametrize(
    ("channels", "side", "nbytes"), [(3, 32, 163_314_607), (1, 28, 163_303_855)]
)
def test_resnet12_as_the_study_sends_it(channels: int, side: int, nbytes: int) -> None:
    assert STUDY.nbytes(resnet12(channels, side)) == nbytes


def at_density(manifest: Manifest, density: float) -> Manifest:
    return replace(
        manifest,
        tensors=tuple(
            replace(t, nonzero=round(density * t.size)) if len(t.shape) > 1 else t
            for t in manifest.tensors
        ),
    )


@pytest.mark.parametrize(
    ("density", "nbytes"), [(0.5, 93_589_647), (0.2, 51_754_663), (0.1, 37_809_679)]
)
def test_resnet12_pruned_globally(density: float, nbytes: int) -> None:
    # the study's counts depend on which layers its weights leave entries in, by some 170 bytes
    assert STUDY.nbytes(at_density(resnet12(3, 32), density)) == pytest.approx(nbytes, abs=170)


def test_rows_of_outputs_save_what_pointers_of_three_entries_cost() -> None:
    pruned = at_density(resnet12(3, 32), 0.1)
    # 36.06 and 13.49 MiB; dense float32 without any framing is 66.60 MiB
    assert STUDY.nbytes(pruned) == 37_809_735
    assert OUTPUTS.nbytes(pruned) == 14_143_047


def test_simple_cnn_as_the_study_sends_it() -> None:
    payload = payload_of(module_of("simple_cnn", (1, 28, 28)))
    assert len(STUDY.encode(payload)) == 365_767


@pytest.mark.parametrize(("share", "nbytes"), STRUCTURED.items())
def test_simple_cnn_with_rows_pruned(share: float, nbytes: int) -> None:
    module = module_of("simple_cnn", (1, 28, 28))
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            prune.ln_structured(layer, "weight", amount=share, n=1, dim=0)
            prune.remove(layer, "weight")
    payload = payload_of(module)
    message = STUDY.encode(payload)
    assert len(message) == nbytes
    back = STUDY.decode(message, payload.tensors.layout)
    assert torch.equal(back.tensors.flat, payload.tensors.flat)


def some(shape: tuple[int, ...]) -> tuple[Payload, np.ndarray[Any, Any]]:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.4)
    packed = NamedTensors.pack({"w": drawn})
    return Payload(packed, Masks(packed.layout, (packed.flat != 0).float())), drawn.numpy()


def by_numpy(array: np.ndarray[Any, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    matrix = csr_matrix(array.reshape(-1, array.shape[-1]))
    yield "data", matrix.data
    yield "indices", matrix.indices
    yield "indptr", matrix.indptr
    yield "shape", np.array(matrix.shape)
    yield "original_shape", np.array(array.shape)
    yield "allow_pickle", np.array(False)


@pytest.mark.parametrize("shape", [(16, 6, 5, 5), (84, 120), (3, 2, 7)])
def test_the_bytes_are_those_of_numpy_and_scipy(shape: tuple[int, ...]) -> None:
    payload, array = some(shape)
    message = STUDY.encode(payload)
    expected = dict(by_numpy(array))
    # numpy takes the last name for its own keyword now; the others are as it writes them
    theirs = io.BytesIO()
    np.savez(theirs, **{n: a for n, a in expected.items() if n != "allow_pickle"})
    files = zipfile.ZipFile(theirs)
    before = max(i.header_offset for i in files.infolist())
    assert message[:before] == theirs.getvalue()[:before]
    with np.load(io.BytesIO(message)) as loaded:
        assert list(loaded) == list(expected)
        for name, array in expected.items():
            assert loaded[name].dtype == array.dtype
            assert np.array_equal(loaded[name], array)


@pytest.mark.parametrize("shape", [(), (1,), (512,)])
def test_vectors_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    expected = io.BytesIO()
    np.save(expected, tensor.numpy())
    assert STUDY.encode(Payload(NamedTensors.pack({"b": tensor}))) == expected.getvalue()


def test_a_batch_normalisation_has_a_counter() -> None:
    module = nn.BatchNorm2d(8)
    packed = NamedTensors.pack({f"bn.{n}": t for n, t in floats_of(module).items()})
    message = STUDY.encode(Payload(packed))
    counter = io.BytesIO()
    np.save(counter, np.array(0, np.int64))
    assert len(message) == 4 * (128 + 32) + 136
    assert message.endswith(counter.getvalue())
    without = ScipyCsr(ScipyCsrOptions(batch_counters=False))
    assert without.encode(Payload(packed)) == message[:-136]


@pytest.mark.slow
def test_all_of_resnet12_is_encoded() -> None:
    payload = Payload(NamedTensors.pack(floats_of(module_of("resnet12", (3, 32, 32)))))
    message = STUDY.encode(payload)
    assert len(message) == 163_314_607
    back = STUDY.decode(message, payload.tensors.layout)
    assert torch.equal(back.tensors.flat, payload.tensors.flat)
