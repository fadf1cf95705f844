from copy import deepcopy

import pytest
import torch
from torch import nn

from simfl.learning.network import AutogradNetwork


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "pad", "stride", "size"),
    [
        *((3, 1, 1, 1), (3, 1, 2, 2), (1, 0, 2, 2), (1, 0, 1, 1), (3, 1, 2, 1), (2, 0, 2, 3)),
        *((3, 1, 1, 2), (5, 2, 3, 3), (3, 1, 1, 4)),
    ],
)
def test_a_convolution_to_a_single_pixel_is_pytorchs(
    kernel: int, pad: int, stride: int, size: int, bias: bool
) -> None:
    generator = torch.Generator().manual_seed(4)
    theirs = nn.Conv2d(4, 6, kernel, stride, pad, bias=bias)
    ours = deepcopy(theirs)
    AutogradNetwork(ours)
    inputs = [torch.rand((3, 4, size, size), generator=generator) for _ in range(1)]
    inputs.append(inputs[0].clone())
    outputs = []
    for layer, x in zip((theirs, ours), inputs, strict=True):
        x.requires_grad_()
        out = layer(x)
        out.square().sum().backward()
        outputs.append(out)
    assert outputs[0].shape == outputs[1].shape
    assert torch.allclose(*outputs, rtol=1e-5, atol=1e-6)
    assert torch.allclose(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)
    assert theirs.weight.grad.abs().max() > 0.01
    for mine, his in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, his.grad, rtol=1e-4, atol=1e-5)


def test_other_convolutions_are_left_alone() -> None:
    grouped = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 3, dilation=2))
    AutogradNetwork(grouped)
    assert [type(layer) for layer in grouped] == [nn.Conv2d, nn.Conv2d]


def test_a_parameter_that_takes_no_part_stays() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    net = AutogradNetwork(Forgetful())
    before = net.packed.clone()
    net.descend(torch.ones(1, 4, 3), torch.tensor([[0, 1, 0, 0]]), "cross_entropy", 0.1)
    changed = (net.packed != before)[0]
    assert changed[:8].any()
    assert not changed[8:].any()
