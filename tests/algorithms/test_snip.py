import pytest
import torch
from rounds import MakeProblem, built
from torch.nn.functional import cross_entropy

from simfl.learning.state import Turn

WEIGHTS = ("fc1.weight", "fc2.weight", "fc3.weight")


def test_it_keeps_what_matters_most_to_the_loss(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm = built("snip", problem, sparsity=0.9, probe="initial", samples=9)
    state, dense = algorithm.initial(), problem.initial_tensors()
    # dL/dc at c = 1, with a mask that multiplies the weights
    module, data = problem.architecture.build(), problem.data_of(0)
    masks = {name: torch.ones_like(dense[name], requires_grad=True) for name in WEIGHTS}
    at = {**dense, **{name: dense[name] * mask for name, mask in masks.items()}}
    outputs = torch.func.functional_call(module, at, (data.inputs[:9],))
    cross_entropy(outputs, data.targets[:9]).backward()
    scores = torch.cat([masks[name].grad.abs().reshape(-1) for name in WEIGHTS])
    kept = torch.cat([state.masks.views[name].reshape(-1) for name in WEIGHTS]).bool()
    assert int(kept.sum()) == int(len(scores) * 0.1) or int(kept.sum()) == int(
        len(scores) * (1 - 0.9)
    )
    assert scores[kept].min() >= scores[~kept].max() - 1e-9
    for name in dense:
        if name not in WEIGHTS:
            assert state.masks.views[name].all()


@pytest.mark.parametrize("loss", ["nll_on_outputs", "cross_entropy"])
def test_its_mask_stays_and_probes_differ(make_problem: MakeProblem, loss: str) -> None:
    algorithm = built("snip", make_problem(), sparsity=0.8, loss=loss)
    state = algorithm.initial()
    other = built("snip", make_problem(), sparsity=0.8, loss=loss, probe="initial").initial()
    assert not torch.equal(state.masks.flat, other.masks.flat)
    trained = algorithm.train(state, Turn(0, 1))
    assert trained.masks is state.masks
    assert not trained.tensors.flat[state.masks.flat == 0].any()


def test_its_probe_is_charged_to_the_server(make_problem: MakeProblem) -> None:
    algorithm = built("snip", make_problem(), sparsity=0.8, samples=9)
    work = algorithm.work["initial"](algorithm)
    assert (work.steps, work.samples, work.sessions) == (1, 9, 1)
