"""Weights of factors: ranks, values, counts."""

import pickle
from dataclasses import replace
from itertools import pairwise
from math import prod, sqrt

import pytest
import torch
from torch import Tensor, nn

from simfl.cost.memory import held_bytes
from simfl.models.base import Architecture, ModelOptions, chain, initialise
from simfl.models.count import declare, workload
from simfl.models.low_rank import (
    LowRank,
    LowRankConv2d,
    LowRankLinear,
    factors_size,
    low_rank,
    rank_of,
)
from simfl.registry import MODELS
from simfl.work import Kind


def named(name: str) -> Architecture:
    plugin = MODELS.get(name)
    found: Architecture = plugin.build(plugin.options(), classes=10, sample_shape=(1, 28, 28))
    return found


@pytest.mark.parametrize(
    "shape", [(100, 300), (64, 64), (6, 1, 5, 5), (16, 6, 5, 5), (256, 128, 3, 3), (512, 256, 1, 1)]
)
def test_ranks_lie_between_full_rank_and_full_size(shape: tuple[int, ...]) -> None:
    least, most = (rank_of(shape, ratio, "ranks") for ratio in (0.0, 1.0))
    assert least**2 >= min(shape[:2]) > (least - 1) ** 2
    assert factors_size(shape, most) <= prod(shape) < factors_size(shape, most + 1)


VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
# Hyeon-Woo et al. 2022, Table 5, ten classes: millions of parameters
TABLE_5 = {
    **{0.1: 1.55, 0.2: 2.33, 0.3: 3.31, 0.4: 4.45, 0.5: 5.79},
    **{0.6: 7.33, 0.7: 9.01, 0.8: 10.90, 0.9: 12.92},
}


@pytest.mark.parametrize(("ratio", "millions"), TABLE_5.items())
def test_vgg16_has_the_parameters_of_the_papers_table_5(ratio: float, millions: float) -> None:
    shapes = [(after, before, 3, 3) for before, after in pairwise((3, *VGG16))]
    # biases and group normalisation of the convolutions; three linear layers, whole
    rest = 3 * sum(VGG16) + 2 * (512 * 512 + 512) + 512 * 10 + 10
    assert rest + sum(map(prod, shapes)) == pytest.approx(15.25e6, abs=5e3)
    found = sum(factors_size(shape, rank_of(shape, ratio, "ranks")) for shape in shapes)
    # seven of nine are the same to the last digit, two are off by 8 and 10 K
    assert rest + found == pytest.approx(millions * 1e6, abs=10.5e3)


@pytest.mark.parametrize("shape", [(100, 300), (256, 256, 3, 3)])
@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_the_public_codes_ratio_is_that_of_parameters(shape: tuple[int, ...], ratio: float) -> None:
    rank = rank_of(shape, ratio, "parameters")
    assert factors_size(shape, rank - 1) < ratio * prod(shape) <= factors_size(shape, rank)


def drawn(layer: LowRank) -> LowRank:
    initialise(layer, "kaiming_fan_in", torch.Generator().manual_seed(3))
    return layer


def test_a_kernel_is_proposition_3() -> None:
    like = nn.Conv2d(5, 8, 3, stride=2, padding=1)
    layer = drawn(LowRankConv2d(like, 4, drawn="scaled"))
    halves = [
        torch.einsum(
            "rsuv,or,is->oiuv",
            *(layer.get_parameter(f"{name}{half}") for name in ("core", "x", "y")),
        )
        for half in (1, 2)
    ]
    weight = halves[0] * halves[1]
    assert torch.allclose(layer.weight(), weight, atol=1e-6)
    assert sum(p.numel() for p in layer.parameters()) == 2 * (4 * 13 + 16 * 9) + 8
    x = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.conv2d(x, weight, layer.bias, stride=2, padding=1)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_two_matrices_of_rank_r_compose_one_of_its_square() -> None:
    weight = drawn(LowRankLinear((20, 30), 3, bias=False, drawn="scaled")).weight().double()
    assert int(torch.linalg.matrix_rank(weight, rtol=1e-5)) == 9


def test_tanh_bounds_both_halves() -> None:
    layer = drawn(LowRankLinear((20, 30), 3, bias=False, drawn="scaled", tanh=True))
    x1, y1, x2, y2 = layer.parameters()
    expected = (x1 @ y1.T).tanh() * (x2 @ y2.T).tanh()
    assert torch.allclose(layer.weight(), expected, atol=1e-6)


@pytest.mark.parametrize("tanh", [False, True])
@pytest.mark.parametrize("shape", [(300, 200), (64, 32, 5, 5)])
def test_what_is_composed_has_the_variance_of_a_whole_weight(
    shape: tuple[int, ...], tanh: bool
) -> None:
    def weight(init: str) -> Tensor:
        if len(shape) == 2:
            layer: LowRank = LowRankLinear(shape, 20, bias=False, drawn="scaled", tanh=tanh)
        else:
            like = nn.Conv2d(32, 64, 5, bias=False)
            layer = LowRankConv2d(like, 20, drawn="scaled", tanh=tanh)
        initialise(layer, init, torch.Generator().manual_seed(3))
        return layer.weight().detach()

    fan_in = prod(shape[1:])
    expected = {
        "kaiming_fan_in": sqrt(2 / fan_in),
        "kaiming_fan_out": sqrt(2 / shape[0]),
        "glorot": sqrt(2 / (fan_in + shape[0] * prod(shape[2:]))),
        "torch": sqrt(1 / (3 * fan_in)),
    }
    for init, deviation in expected.items():
        assert float(weight(init).std()) == pytest.approx(deviation, rel=0.15)


def test_the_public_codes_cores_have_the_fan_of_pytorch() -> None:
    layer = drawn(LowRankConv2d(nn.Conv2d(64, 64, 5), 20, drawn="public_code"))
    assert float(layer.get_parameter("core1").detach().std()) == pytest.approx(
        sqrt(2 / 500), rel=0.05
    )


def test_lenet5_of_factors_by_hand() -> None:
    whole = named("lenet5")
    found = low_rank(whole, 0.3, ratio_of="ranks", drawn="scaled")
    assert found.name == "lenet5 of factors"
    sizes = {name: p.numel() for name, p in found.build().named_parameters()}
    rank = rank_of((120, 400), 0.3, "ranks")
    # between 11 and 46
    assert rank == 22
    assert sizes["fc1.x1"] == 22 * 120
    assert sizes["fc3.weight"] == 840
    assert [layer.weight for layer in found.layers] == ["fc3.weight"]
    assert found.layers[0].output
    # the same products and activations, and those that compose besides
    plain = [(o.kind, o.macs, o.outputs) for o in whole.operations]
    assert [(o.kind, o.macs, o.outputs) for o in found.operations if not o.once] == plain
    assert sum(o.parameters for o in found.operations) == sum(sizes.values())
    assert pickle.loads(pickle.dumps(found.build))().state_dict().keys() == sizes.keys()


def grouped() -> nn.Module:
    return chain(
        conv=nn.Conv2d(8, 8, 3, groups=8),
        flatten=nn.Flatten(),
        fc1=nn.Linear(32, 2),
        fc2=nn.Linear(2, 40),
        fc3=nn.Linear(40, 40),
        fc4=nn.Linear(40, 4),
    )


def test_groups_the_last_layer_and_what_would_grow_stay_whole() -> None:
    options = ModelOptions()
    whole = declare("grouped", grouped, options, classes=4, sample_shape=(8, 4, 4))
    module = low_rank(whole, 0.5, ratio_of="ranks", drawn="scaled").build()
    kinds = {name: type(layer) for name, layer in module.named_children()}
    assert kinds["conv"] is nn.Conv2d
    # 64 entries: of rank 2 the factors have 136
    assert kinds["fc1"] is kinds["fc2"] is kinds["fc4"] is nn.Linear
    assert kinds["fc3"] is LowRankLinear


def test_what_composes_is_counted_once_a_step() -> None:
    layer = nn.Sequential(LowRankLinear((30, 20), 4, bias=True, drawn="scaled"), nn.ReLU())
    first, second, product, linear, relu = workload(layer, (20,), batch=8).layers
    for composing in (first, second):
        assert (composing.kind, composing.macs, composing.products) == (Kind.LINEAR, 2400, 2)
        assert (composing.weights, composing.parameters, composing.tensors) == (200, 200, 2)
        assert composing.once
        assert not composing.keeps_weight
        # backward needs both halves, and no sample
        assert composing.kept_bytes == 4 * 600
    assert (product.once, product.products, product.outputs) == (True, 2, 600)
    assert (linear.macs, linear.products, linear.weights, linear.parameters) == (600, 1, 600, 30)
    assert linear.composed
    assert not linear.once
    # the inputs, which come before the first operation
    assert linear.kept_bytes == 4 * 20
    assert not relu.once
    work = workload(layer, (20,), batch=8, steps=3)
    assert work.macs == 3 * (8 * 600 + 2 * 2400)
    # composed anew in each step: nobody holds it, and its gradient is none of a parameter
    assert held_bytes(replace(work, slots=1)) == 2 * 4 * 430
