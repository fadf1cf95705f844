from functools import partial

import pytest
import torch
from torch import nn

from simfl.errors import CostError
from simfl.models.base import Architecture, ModelOptions
from simfl.models.count import declare
from simfl.models.shapes import reshape, shaped
from simfl.registry import MODELS
from simfl.tensors import Layout


def architecture(name: str, classes: int, sample_shape: tuple[int, int, int]) -> Architecture:
    model = MODELS.get(name)
    found: Architecture = model.build(model.options(), classes=classes, sample_shape=sample_shape)
    return found


def layout_of(module: nn.Module) -> Layout:
    named = {n: t for n, t in module.state_dict().items() if t.is_floating_point()}
    return Layout(tuple(named), tuple(tuple(p.shape) for p in named.values()))


def test_a_narrower_network_is_counted_as_if_it_had_been_built_so() -> None:
    def build(first: int, second: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, first, 3),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3),
            nn.Flatten(),
            nn.Linear(16 * second, 3),
        )

    def declared(*widths: int) -> Architecture:
        return declare(
            "some", partial(build, *widths), ModelOptions(), classes=3, sample_shape=(1, 8, 8)
        )

    direct = declared(3, 2)
    narrowed = shaped(declared(6, 8), layout_of(direct.build()))
    assert narrowed.operations == direct.operations
    assert narrowed.layers == direct.layers
    assert (narrowed.name, narrowed.classes) == ("some", 3)
    assert [str(m) for m in narrowed.build().modules()] == [
        str(m) for m in direct.build().modules()
    ]


def test_the_same_shapes_are_the_same_network() -> None:
    lenet = architecture("lenet5", 10, (1, 28, 28))
    assert shaped(lenet, layout_of(lenet.build())).operations == lenet.operations


def test_a_depthwise_convolution_keeps_a_filter_for_each_channel() -> None:
    layer = nn.Conv2d(6, 6, 3, groups=6)
    reshape(layer, {"weight": (4, 1, 3, 3), "bias": (4,)})
    assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 4, 4)
    assert layer(torch.rand(1, 4, 5, 5)).shape == (1, 4, 3, 3)


def test_buffers_are_reshaped_and_stay_buffers() -> None:
    norm = nn.BatchNorm2d(6)
    names = ("weight", "bias", "running_mean", "running_var")
    reshape(norm, dict.fromkeys(names, (4,)))
    assert norm.num_features == 4
    assert [n for n, _ in norm.named_buffers()] == [
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]


def test_shapes_that_do_not_fit_are_refused() -> None:
    lenet = architecture("lenet5", 10, (1, 28, 28))
    layout = layout_of(lenet.build())
    broken = tuple((7, *s[1:]) if n == "conv1.weight" else s for n, s in layout.shape_of.items())
    with pytest.raises(CostError, match="cannot be counted"):
        shaped(lenet, Layout(layout.names, broken))
