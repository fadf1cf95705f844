from functools import partial
from math import sqrt

import pytest
import torch
from torch import nn

from simfl.learning.network import AutogradNetwork
from simfl.models.base import Architecture, Init, initialise
from simfl.models.count import count_layers
from simfl.registry import MODELS

INPUT, CLASSES = (1, 28, 28), 10
# parameters and multiply-accumulates of one sample's forward pass, by hand
PARAMETERS = {"lenet_300_100": 266_610}
MACS = {
    "lenet_300_100": {
        "fc1.weight": 784 * 300,
        "fc2.weight": 300 * 100,
        "fc3.weight": 100 * 10,
    }
}
MODEL = pytest.mark.parametrize("name", MODELS.names())


def architecture(name: str, init: Init = "kaiming_fan_in") -> Architecture:
    plugin = MODELS.get(name)
    built = plugin.build(plugin.options(init=init), classes=CLASSES, sample_shape=INPUT)
    assert isinstance(built, Architecture)
    return built


def test_every_model_is_counted_here() -> None:
    assert set(PARAMETERS) == set(MACS) == set(MODELS.names())


@MODEL
def test_forward(name: str) -> None:
    model = architecture(name)
    assert (model.name, model.sample_shape, model.classes) == (name, INPUT, CLASSES)
    generator = torch.Generator().manual_seed(1)
    module = model.build()
    initialise(module, model.init, generator)
    output = module(torch.rand(5, *INPUT, generator=generator))
    assert output.shape == (5, CLASSES)
    assert output.isfinite().all()
    assert output.std() > 0


@MODEL
def test_as_many_parameters_as_published(name: str) -> None:
    module = architecture(name).build()
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[name]


@MODEL
def test_multiply_accumulates_as_counted_by_hand(name: str) -> None:
    assert {layer.weight: layer.macs for layer in architecture(name).layers} == MACS[name]


@MODEL
def test_layers_are_parameters_and_the_last_is_the_output(name: str) -> None:
    model = architecture(name)
    parameters = dict(model.build().named_parameters())
    for layer in model.layers:
        assert parameters[layer.weight].dim() == {"linear": 2, "conv": 4}[layer.kind]
    matrices = {n for n, p in parameters.items() if p.dim() > 1}
    assert {layer.weight for layer in model.layers} == matrices
    assert [layer.output for layer in model.layers][:-1] == [False] * (len(model.layers) - 1)
    assert model.layers[-1].output
    assert len(parameters[model.layers[-1].weight]) == CLASSES


@MODEL
def test_one_packed_vector_carries_the_whole_model(name: str) -> None:
    net = AutogradNetwork(architecture(name).build())
    assert net.packed.shape == (1, PARAMETERS[name])
    net.packed.zero_()
    assert not net.logits(torch.rand(2, *INPUT)).any()


@MODEL
@pytest.mark.parametrize("init", ["kaiming_fan_in", "kaiming_fan_out"])
def test_initial_weights_fill_their_bound(name: str, init: Init) -> None:
    model, module = architecture(name, init), architecture(name, init).build()
    initialise(module, model.init, torch.Generator().manual_seed(1))
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    for layer in model.layers:
        weight = parameters[layer.weight]
        fan = weight[0].numel() if init == "kaiming_fan_in" else len(weight)
        assert float(weight.abs().max()) == pytest.approx(sqrt(6 / fan), rel=0.02)
        assert float(weight.std()) == pytest.approx(sqrt(2 / fan), rel=0.1)
    assert not any(p.any() for p in parameters.values() if p.dim() == 1)


def test_the_bounds_of_prunefls_public_code() -> None:
    module = architecture("lenet_300_100").build()
    initialise(module, "kaiming_fan_out", torch.Generator().manual_seed(1))
    bounds = [float(p.detach().abs().max()) for p in module.parameters() if p.dim() == 2]
    assert bounds == pytest.approx([0.141, 0.245, 0.775], abs=1e-3)


@MODEL
def test_one_seed_one_model(name: str) -> None:
    def drawn(seed: int) -> torch.Tensor:
        module = architecture(name).build()
        initialise(module, "kaiming_fan_in", torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().reshape(-1) for p in module.parameters()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),  # 8 x 8 positions
        nn.ReLU(),
        nn.Conv2d(8, 4, 5, groups=2, bias=False),  # 4 x 4 positions
        nn.Flatten(),
        nn.Linear(64, 7),
    )


def test_convolutions_count_weights_times_positions() -> None:
    layers = count_layers(partial(_convolutions), (3, 16, 16))
    assert [(layer.weight, layer.kind, layer.macs, layer.output) for layer in layers] == [
        ("0.weight", "conv", 3 * 8 * 9 * 64, False),
        ("2.weight", "conv", 4 * 4 * 25 * 16, False),
        ("4.weight", "linear", 64 * 7, True),
    ]
