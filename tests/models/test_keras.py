"""What Keras does otherwise, against its rules done by hand."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional

from simfl.models.base import initialise
from simfl.models.keras import half, normalization, strided
from simfl.registry import MODELS


def padded_as_same(x: torch.Tensor, kernel: int) -> torch.Tensor:
    """TensorFlow's rule for stride 2: what is needed in all, the larger half at the end."""
    pads: list[int] = []
    for side in reversed(x.shape[2:]):
        out = -(-side // 2)
        need = max(0, (out - 1) * 2 + kernel - side)
        pads += [need // 2, need - need // 2]
    return functional.pad(x, pads)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("sides", [(28, 28), (21, 21), (7, 4), (6, 9), (1, 2)])
def test_same_padding_of_stride_2(kernel: int, sides: tuple[int, int]) -> None:
    pad, conv = strided(2, 3, kernel, sides)
    x = torch.rand((2, 2, *sides), generator=torch.Generator().manual_seed(1))
    expected = functional.conv2d(padded_as_same(x, kernel), conv.weight, conv.bias, stride=2)
    found = conv(pad(x))
    assert found.shape[2:] == tuple(map(half, sides))
    assert torch.allclose(found, expected, atol=1e-6)


def test_an_even_image_is_padded_at_its_end_alone() -> None:
    pad, conv = strided(1, 1, 3, (4, 4))
    with torch.no_grad():
        conv.weight.zero_()[..., 0, 0] = 1  # the first pixel of each window
        assert conv.bias is not None
        conv.bias.zero_()
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert conv(pad(image)).flatten().tolist() == [0, 2, 8, 10]


def test_running_statistics_move_a_hundredth() -> None:
    norm = normalization(1)
    norm(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert float(norm.running_mean) == pytest.approx(0.01 * 2)
    # of a variance of zero, epsilon alone is left
    norm.eval()
    with torch.no_grad():
        norm.running_var.zero_()
        norm.running_mean.zero_()
    assert norm(torch.ones(1, 1, 1, 1)).item() == pytest.approx(1 / sqrt(1e-3), rel=1e-5)


@pytest.mark.parametrize("name", ["autoprune_conv", "autoprune_resnet", "autoprune_inception"])
def test_kerass_weights_are_the_default(name: str) -> None:
    plugin = MODELS.get(name)
    assert plugin.options().init == "glorot"
    assert plugin.options(init="torch").init == "torch"
    assert MODELS.get("lenet5").options().init == "kaiming_fan_in"


def test_glorots_bounds() -> None:
    module = nn.Sequential(nn.Conv2d(3, 32, 5), nn.Linear(784, 300))
    initialise(module, "glorot", torch.Generator().manual_seed(1))
    bounds = [float(layer.weight.detach().abs().max()) for layer in module]
    # sqrt(6 / (25 (3 + 32))) and sqrt(6 / 1084)
    assert bounds == pytest.approx([0.08281, 0.07440], rel=2e-3)
    assert not any(layer.bias.any() for layer in module)
