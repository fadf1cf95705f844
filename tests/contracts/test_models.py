from math import sqrt
from typing import Any

import pytest
import torch
from torch import nn

from simfl.errors import OptionError
from simfl.learning.network import AutogradNetwork
from simfl.models.base import Architecture, Init, initialise
from simfl.models.count import layers_of, operations
from simfl.registry import MODELS

CLASSES = 10
GREY, COLOUR, FACES = (1, 28, 28), (3, 32, 32), (3, 84, 84)
# name, options, images, classes; as published: parameters, multiply-accumulates of a forward pass
PUBLISHED: list[tuple[str, dict[str, Any], tuple[int, int, int], int, int, int]] = [
    ("lenet_300_100", {}, GREY, 10, 266_610, 266_200),
    ("lenet_300_100", {}, GREY, 62, 271_862, 271_400),
    ("lenet5", {}, GREY, 10, 61_706, 416_520),
    ("simple_cnn", {}, GREY, 10, 44_426, 281_640),
    ("conv_fashionmnist", {}, GREY, 10, 741_426, 3_602_200),
    ("conv_femnist", {}, GREY, 62, 2_758_142, 9_667_584),
    ("conv2_leaf", {}, GREY, 62, 6_603_710, 17_211_904),
    ("vgg11_small_fc", {}, COLOUR, 10, 9_750_922, 153_293_824),
    ("resnet18", {}, COLOUR, 10, 11_173_962, 555_422_720),
    ("resnet18", {}, COLOUR, 100, 11_220_132, 555_468_800),
    ("resnet18", {"stem": "torchvision"}, COLOUR, 10, 11_181_642, 37_016_576),
    ("resnet12", {}, GREY, 10, 17_443_530, 704_706_560),
    ("resnet12", {}, COLOUR, 10, 17_444_682, 857_412_608),
    ("alexnet_cifar", {}, COLOUR, 10, 23_272_266, 62_742_528),
    ("tiny_yolo_v2", {"head": "voc"}, COLOUR, 10, 15_861_773, 20_624_384),
    ("tiny_yolo_v2", {}, COLOUR, 10, 15_743_898, 20_506_624),
    ("autoprune_conv", {"form": "celeba"}, FACES, 2, 80_930, 75_944_000),
    ("autoprune_conv", {}, GREY, 62, 56_126, 3_741_568),
    ("autoprune_resnet", {}, FACES, 2, 30_274, 2_582_080),
    ("autoprune_resnet", {}, GREY, 62, 32_862, 258_496),
    ("autoprune_inception", {}, FACES, 2, 243_752, 161_847_428),
    ("autoprune_inception", {}, GREY, 62, 246_236, 15_488_252),
]
IMAGES = {name: images for name, _, images, *_ in PUBLISHED}
# multiply-accumulates by hand: weights x positions
MACS = {
    "lenet_300_100": {
        "fc1.weight": 784 * 300,
        "fc2.weight": 300 * 100,
        "fc3.weight": 100 * 10,
    },
    "lenet5": {
        "conv1.weight": 6 * 25 * 28 * 28,
        "conv2.weight": 16 * 6 * 25 * 10 * 10,
        "fc1.weight": 400 * 120,
        "fc2.weight": 120 * 84,
        "fc3.weight": 84 * 10,
    },
    "simple_cnn": {
        "conv1.weight": 6 * 25 * 24 * 24,
        "conv2.weight": 16 * 6 * 25 * 8 * 8,
        "fc1.weight": 256 * 120,
        "fc2.weight": 120 * 84,
        "fc3.weight": 84 * 10,
    },
    "conv_femnist": {
        "conv1.weight": 32 * 25 * 24 * 24,
        "conv2.weight": 128 * 32 * 25 * 8 * 8,
        "fc1.weight": 2048 * 1024,
        "fc2.weight": 1024 * 512,
        "fc3.weight": 512 * 10,
    },
    "conv_fashionmnist": {
        "conv1.weight": 32 * 9 * 28 * 28,
        "conv2.weight": 64 * 32 * 9 * 12 * 12,
        "fc1.weight": 2304 * 300,
        "fc2.weight": 300 * 100,
        "fc3.weight": 100 * 10,
    },
    "conv2_leaf": {
        "conv1.weight": 32 * 25 * 28 * 28,
        "conv2.weight": 64 * 32 * 25 * 14 * 14,
        "fc1.weight": 3136 * 2048,
        "fc2.weight": 2048 * 10,
    },
}
MODEL = pytest.mark.parametrize("name", MODELS.names())


def architecture(
    name: str,
    init: Init = "kaiming_fan_in",
    images: tuple[int, int, int] | None = None,
    classes: int = CLASSES,
    **options: Any,
) -> Architecture:
    plugin = MODELS.get(name)
    chosen = plugin.options(init=init, **options)
    built = plugin.build(chosen, classes=classes, sample_shape=images or IMAGES[name])
    assert isinstance(built, Architecture)
    return built


def parameters_of(model: Architecture) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in model.build().parameters())


def test_every_model_is_counted_here() -> None:
    assert set(IMAGES) == set(MODELS.names())


@MODEL
def test_forward(name: str) -> None:
    model, images = architecture(name), IMAGES[name]
    assert (model.name, model.sample_shape, model.classes) == (name, images, CLASSES)
    generator = torch.Generator().manual_seed(1)
    module = model.build()
    initialise(module, model.init, generator)
    output = module(torch.rand(5, *images, generator=generator))
    assert output.shape == (5, CLASSES)
    assert output.isfinite().all()
    assert output.std() > 0


@pytest.mark.parametrize(("name", "options", "images", "classes", "parameters", "macs"), PUBLISHED)
def test_as_many_parameters_and_multiply_accumulates_as_published(
    name: str,
    options: dict[str, Any],
    images: tuple[int, int, int],
    classes: int,
    parameters: int,
    macs: int,
) -> None:
    model = architecture(name, images=images, classes=classes, **options)
    assert parameters_of(model) == parameters
    assert sum(layer.macs for layer in model.layers) == macs


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_as_counted_by_hand(name: str) -> None:
    assert {layer.weight: layer.macs for layer in architecture(name).layers} == MACS[name]


@pytest.mark.parametrize(("stem", "less"), [("cifar", 2 * 9 * 64), ("torchvision", 2 * 49 * 64)])
def test_resnet18_for_grey_images_has_a_narrower_stem(stem: str, less: int) -> None:
    grey = architecture("resnet18", images=(1, 32, 32), stem=stem)
    assert parameters_of(grey) == parameters_of(architecture("resnet18", stem=stem)) - less


@pytest.mark.parametrize("name", ["lenet5", "simple_cnn", "conv_fashionmnist", "vgg11_small_fc"])
def test_the_first_linear_layer_follows_the_images(name: str) -> None:
    model = architecture(name, images=(3, 40, 32))
    assert model.build()(torch.rand(2, 3, 40, 32)).shape == (2, CLASSES)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("lenet5", 12), ("simple_cnn", 16), ("conv_femnist", 16), ("conv2_leaf", 4)),
        *(("conv_fashionmnist", 8), ("vgg11_small_fc", 32), ("alexnet_cifar", 15)),
        *(("autoprune_conv", 16), ("autoprune_inception", 15)),
    ],
)
def test_images_that_are_too_small(name: str, least: int) -> None:
    assert architecture(name, images=(1, least, least))
    with pytest.raises(OptionError, match=rf"at least {least}x{least}, and these are {least - 1}x"):
        architecture(name, images=(1, least - 1, least))


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
    module = architecture(name).build()
    net = AutogradNetwork(module)
    assert net.packed.shape[1] == sum(
        t.numel() for t in module.state_dict().values() if t.is_floating_point()
    )
    net.packed.zero_()
    assert not net.logits(torch.rand(2, *IMAGES[name])).any()


@MODEL
@pytest.mark.parametrize("init", ["kaiming_fan_in", "kaiming_fan_out", "glorot"])
def test_initial_weights_fill_their_bound(name: str, init: Init) -> None:
    model, module = architecture(name, init), architecture(name, init).build()
    initialise(module, model.init, torch.Generator().manual_seed(1))
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    for layer in model.layers:
        weight = parameters[layer.weight]
        fan_in, outputs, window = weight[0].numel(), len(weight), weight[0, 0].numel()
        fan = {
            "kaiming_fan_in": fan_in,
            "kaiming_fan_out": outputs,
            "glorot": fan_in + outputs * window,
        }[init]
        assert float(weight.abs().max()) == pytest.approx(sqrt(6 / fan), rel=0.02)
        assert float(weight.std()) == pytest.approx(sqrt(2 / fan), rel=0.1)
    # biases are 0; the weights of batch normalisation, 1
    for part, vector in parameters.items():
        if vector.dim() == 1:
            assert (vector == (1 if part.endswith("weight") else 0)).all()


@MODEL
def test_pytorchs_own_initialisation(name: str) -> None:
    plain, module = architecture(name).build(), architecture(name).build()
    initialise(module, "torch", torch.Generator().manual_seed(1))
    for layer, theirs in zip(module.modules(), plain.modules(), strict=True):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = 1 / sqrt(layer.weight[0].numel())
            drawn = [layer.weight, *([] if layer.bias is None else [layer.bias])]
            for tensor in drawn:
                assert 0.7 * bound < float(tensor.detach().abs().max()) <= bound * (1 + 1e-6)
            assert float(layer.weight.detach().std()) == pytest.approx(bound / sqrt(3), rel=0.1)
            # torchvision draws the convolutions of its residual networks in a way of its own
            if not name.startswith("resnet") or isinstance(layer, nn.Linear):
                with torch.random.fork_rng():
                    torch.manual_seed(1)
                    theirs.reset_parameters()
                assert float(theirs.weight.detach().abs().max()) == pytest.approx(bound, rel=0.05)


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


def test_batch_normalisation_starts_as_the_identity() -> None:
    module = architecture("resnet18").build()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                    tensor.fill_(7)
    initialise(module, "kaiming_fan_in", torch.Generator().manual_seed(1))
    found = {layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)}
    assert len(found) == 20
    for layer in found:
        assert (layer.weight == 1).all()
        assert not layer.bias.any()
        assert not layer.running_mean.any()
        assert (layer.running_var == 1).all()


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        ("lenet_300_100", {}, 1),
        ("lenet5", {}, 1),
        ("resnet18", {}, 1),
        # its last blocks see 1 x 1 pixels
        ("resnet18", {"stem": "torchvision"}, 2),
    ],
)
def test_batch_normalisation_needs_more_than_one_value(
    name: str, options: dict[str, Any], least: int
) -> None:
    model = architecture(name, **options)
    assert model.least_batch == least
    module = model.build()
    assert module(torch.rand(least, *IMAGES[name])).shape == (least, CLASSES)
    if least > 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            module(torch.rand(1, *IMAGES[name]))


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),  # 8 x 8 positions
        nn.ReLU(),
        nn.Conv2d(8, 4, 5, groups=2, bias=False),  # 4 x 4 positions
        nn.Flatten(),
        nn.Linear(64, 7),
    )


def test_convolutions_count_weights_times_positions() -> None:
    layers = layers_of(operations(_convolutions, (3, 16, 16)))
    assert [(layer.weight, layer.kind, layer.macs, layer.output) for layer in layers] == [
        ("0.weight", "conv", 3 * 8 * 9 * 64, False),
        ("2.weight", "conv", 4 * 4 * 25 * 16, False),
        ("4.weight", "linear", 64 * 7, True),
    ]
