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


def forgetful(share: float = 0.5) -> AutogradNetwork:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(share), nn.Linear(400, 3))
    net = AutogradNetwork(module)
    flat = torch.rand(net.packed.shape[1], generator=torch.Generator().manual_seed(1))
    net.load([flat])
    return net


INPUTS, TARGETS = torch.ones(1, 50, 1, 20, 20), torch.zeros(1, 50, dtype=torch.long)


def gradients(net: AutogradNetwork, seed: int) -> torch.Tensor:
    net.seed(seed)
    steps = [net.gradient(INPUTS, TARGETS, "cross_entropy", add=False) for _ in range(2)]
    return torch.cat(steps).clone()


def test_dropout_follows_the_seed_and_nothing_else() -> None:
    net, before = forgetful(), torch.get_rng_state()
    once = gradients(net, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    net = forgetful()
    gradients(net, 4)
    assert torch.equal(gradients(net, 3), once)
    assert not torch.equal(gradients(net, 4), once)
    # no two steps leave out the same
    assert not torch.equal(once[0], once[1])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_dropout_leaves_out_a_share_and_scales_the_rest(share: float) -> None:
    dropout = forgetful(share)._module[1]
    assert isinstance(dropout, nn.Dropout)
    found = dropout(INPUTS)
    assert float((found == 0).float().mean()) == pytest.approx(share, abs=0.01)
    kept = found[found != 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - share) if share < 1 else 1))
    dropout.eval()
    assert dropout(INPUTS) is INPUTS


def test_evaluation_leaves_nothing_out() -> None:
    net = forgetful()
    assert torch.equal(net.logits(INPUTS[0]), net.logits(INPUTS[0]))
