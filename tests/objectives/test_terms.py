"""Every loss term's gradient is autograd's, on each model of a stack by itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from simfl.objectives.base import Point
from simfl.registry import OBJECTIVES
from simfl.tensors import Layout

LAYOUT = Layout(
    ("conv.weight", "conv.bias", "fc.weight", "fc.bias"), ((4, 2, 3, 3), (4,), (5, 4), (5,))
)
MATRICES = ("conv.weight", "fc.weight")
Value = Callable[[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]], Tensor]


def proximal(at: dict[str, Tensor], dense: dict[str, Tensor], start: dict[str, Tensor]) -> Tensor:
    return 0.3 / 2 * sum((dense[n] - start[n]).square().sum() for n in dense)


def public_code(at: dict[str, Tensor], dense: dict[str, Tensor], _: Any) -> Tensor:
    return 0.3 / 2 * sum((at[n] - dense[n].detach()).norm() for n in at)


def layer_norms(at: dict[str, Tensor], *_: Any) -> Tensor:
    return 0.3 * sum(at[n].norm() for n in MATRICES)


def group_lasso(at: dict[str, Tensor], *_: Any) -> Tensor:
    conv, fc = (at[n] for n in MATRICES)
    return 0.3 * (sum(out.norm() for out in conv) + sum(into.norm() for into in fc.T))


TERMS: dict[str, tuple[str, dict[str, Any], Value]] = {
    "proximal": ("proximal", {"mu": 0.3}, proximal),
    "public code's": ("proximal", {"mu": 0.3, "form": "public_code"}, public_code),
    "layer norms": ("layer_norms", {"weight": 0.3}, layer_norms),
    "group lasso": ("group_lasso", {"weight": 0.3}, group_lasso),
}


def test_every_term_is_tried() -> None:
    assert {name for name, _, _ in TERMS.values()} == set(OBJECTIVES.names())


@pytest.mark.parametrize("case", TERMS)
@pytest.mark.parametrize("pruned", [False, True])
def test_its_gradient_is_autograds(case: str, pruned: bool) -> None:
    name, options, value = TERMS[case]
    plugin, generator = OBJECTIVES.get(name), torch.Generator().manual_seed(3)
    term = plugin.build(plugin.options(**options))
    start, dense = (torch.randn(3, LAYOUT.size, generator=generator) for _ in range(2))
    mask = (torch.rand(3, LAYOUT.size, generator=generator) < 0.6).float() if pruned else 1.0
    at = dense * mask
    before = torch.randn(3, LAYOUT.size, generator=generator)
    gradient = before.clone()
    term.add_to(gradient, Point(at=at, dense=dense, start=start, layout=LAYOUT))
    for row in range(3):
        leaf = at[row].clone().requires_grad_()
        whole = dense[row].clone().requires_grad_()
        views = [LAYOUT.views(flat) for flat in (leaf, whole, start[row])]
        value(*views).backward()
        parts = [part.grad for part in (leaf, whole) if part.grad is not None]
        expected = torch.nan_to_num(sum(parts))
        assert torch.allclose(gradient[row] - before[row], expected, atol=1e-5)


@pytest.mark.parametrize("case", TERMS)
def test_where_there_is_nothing_it_adds_nothing(case: str) -> None:
    name, options, _ = TERMS[case]
    plugin = OBJECTIVES.get(name)
    zero = torch.zeros(2, LAYOUT.size)
    gradient = zero.clone()
    point = Point(at=zero, dense=zero, start=zero, layout=LAYOUT)
    plugin.build(plugin.options(**options)).add_to(gradient, point)
    assert torch.equal(gradient, zero)
