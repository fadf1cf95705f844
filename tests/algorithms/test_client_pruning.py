"""Masks are torch.nn.utils.prune's, to the bit."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import MakeProblem, built, one_round
from torch import nn
from torch.nn.utils import prune

from simfl.learning.state import Turn
from simfl.pruning.scope import rows_of_each, smallest_of_all, smallest_of_each

WAYS = {"gup": smallest_of_all, "lup": smallest_of_each, "lsp": rows_of_each}


@st.composite
def models(draw: st.DrawFn) -> nn.Module:
    """A random model: convolutions, then linear layers; some weights equal, some zero."""
    channels = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    side = draw(st.sampled_from([1, 3, 5]))
    widths = draw(st.lists(st.integers(1, 30), min_size=2, max_size=3))
    bias = draw(st.booleans())
    convs = [nn.Conv2d(a, b, side, bias=bias) for a, b in itertools.pairwise(channels)]
    linears = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    module = nn.Sequential(*convs, nn.BatchNorm2d(3), *linears)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    steps = draw(st.sampled_from([0.0, 0.25]))
    with torch.no_grad():
        for parameter in module.parameters():
            value = torch.randn(parameter.shape, generator=generator)
            parameter.copy_((value / steps).round() * steps if steps else value)
    return module


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=50)
@given(model=models(), rate=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.77, 0.9, 1.0]))
def test_masks_are_those_of_torch(way: str, model: nn.Module, rate: float) -> None:
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    named = [(f"{n}.weight", m, "weight") for n, m in layers]
    if way == "gup":
        # as the study does: weights and biases, layer by layer
        named = [
            (f"{n}.{part}", m, part)
            for n, m in layers
            for part in ("weight", "bias")
            if getattr(m, part) is not None
        ]
    ours = WAYS[way]({name: getattr(m, part).detach() for name, m, part in named}, rate)
    if way == "gup":
        parts = [(m, part) for _, m, part in named]
        prune.global_unstructured(parts, pruning_method=prune.L1Unstructured, amount=rate)
    for name, module, part in named:
        if way == "lup":
            prune.l1_unstructured(module, part, amount=rate)
        elif way == "lsp":
            prune.ln_structured(module, part, amount=rate, n=1, dim=0)
        assert torch.equal(ours[name], getattr(module, f"{part}_mask")), name


@pytest.mark.parametrize("method", WAYS)
def test_what_is_sent_is_what_is_not_zero(make_problem: MakeProblem, method: str) -> None:
    algorithm = built("client_pruning", make_problem(), method=method, rate=0.5)
    held: dict[int, Any] = {}
    model = one_round(algorithm, algorithm.initial(), 1, held, (0, 1))
    for state in (model, *held.values()):
        sent = algorithm.share(state)
        assert not sent.known
        for name in ("fc1.weight", "fc2.weight", "fc3.weight"):
            assert torch.equal(sent.masks.views[name], (sent.tensors[name] != 0).float())
    # what either client has kept is in the mean
    either = held[0].masks.flat + held[1].masks.flat > 0
    assert torch.equal(model.masks.flat.bool(), either)
    # and all of it is trained again
    assert algorithm.begin(held[0], Turn(0, 2)).masks is None


def test_only_gup_prunes_biases_and_the_classifier_may_be_spared(make_problem: MakeProblem) -> None:
    for method in WAYS:
        for spare in (False, True):
            algorithm = built(
                "client_pruning", make_problem(), method=method, rate=0.9, spare_classifier=spare
            )
            state = algorithm.train(algorithm.initial(), Turn(0, 1))
            pruned = {t.name for t in state.manifest().tensors if t.pruned}
            assert ("fc3.weight" in pruned) is not spare
            assert any("bias" in name for name in pruned) is (method == "gup")


def test_structured_pruning_of_the_classifier_deletes_classes(make_problem: MakeProblem) -> None:
    algorithm = built("client_pruning", make_problem(), method="lsp", rate=0.34)
    state = algorithm.train(algorithm.initial(), Turn(0, 1))
    dead = (state.tensors["fc3.weight"] == 0).all(1)
    assert int(dead.sum()) == 1
