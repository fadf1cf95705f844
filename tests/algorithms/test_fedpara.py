from math import sqrt

import pytest
import torch
from rounds import MakeProblem, built
from torch.nn import functional

import simfl
from simfl.errors import OptionError
from simfl.learning.state import Received, Turn
from simfl.work import Participant, Storage

SERVER = Participant(index=-1, samples=0)


def test_its_factors_are_counted_by_hand(make_problem: MakeProblem) -> None:
    algorithm = built("fedpara", make_problem(), ratio=0.3)
    # 16 -> 300: ranks between 4 and 4800 // 632 = 7; 300 -> 100: between 10 and 37
    sizes = {t.name: t.shape for t in algorithm.forecast().tensors}
    assert sizes["fc1.x1"] == sizes["fc1.x2"] == (300, 5)
    assert sizes["fc1.y1"] == sizes["fc1.y2"] == (16, 5)
    assert sizes["fc2.x1"] == (100, 18)
    assert sizes["fc2.y2"] == (300, 18)
    assert sizes["fc3.weight"] == (3, 100)
    total = 2 * 5 * 316 + 300 + 2 * 18 * 400 + 100 + 303
    assert algorithm.forecast().size == algorithm.problem.parameters == total


def test_factors_travel_both_ways_and_are_dense(make_problem: MakeProblem) -> None:
    algorithm = built("fedpara", make_problem(), ratio=0.3)
    state = algorithm.initial()
    down = algorithm.share(state)
    local = algorithm.train(algorithm.adopt(None, Received(down, SERVER)), Turn(0, 1))
    for payload in (down, algorithm.share(local)):
        assert payload.masks is None
        assert payload.manifest().nonzero == algorithm.problem.parameters


def test_a_step_is_that_of_the_composed_network(make_problem: MakeProblem) -> None:
    problem = make_problem(steps=1)
    algorithm = built("fedpara", problem, ratio=0.3)
    state = algorithm.initial()
    training = algorithm.begin(state, Turn(0, 1))
    [batch] = training.batches
    leaves = {name: t.clone().requires_grad_() for name, t in state.tensors.items()}
    x = training.data.inputs[batch].flatten(1)
    for layer in ("fc1", "fc2"):
        x1, y1, x2, y2 = (leaves[f"{layer}.{name}"] for name in ("x1", "y1", "x2", "y2"))
        x = functional.relu(x @ ((x1 @ y1.T) * (x2 @ y2.T)).T + leaves[f"{layer}.bias"])
    output = x @ leaves["fc3.weight"].T + leaves["fc3.bias"]
    functional.cross_entropy(output, training.data.targets[batch]).backward()
    trained = algorithm.train(state, Turn(0, 1))
    for name, leaf in leaves.items():
        expected = leaf.detach() - problem.local.learning_rate * leaf.grad
        assert torch.allclose(trained.tensors[name], expected, atol=1e-6), name


def test_it_learns(make_problem: MakeProblem) -> None:
    algorithm = built("fedpara", make_problem(learning_rate=0.05, steps=60), ratio=0.3)
    state = algorithm.initial()
    before, after = algorithm.score(state), algorithm.score(algorithm.train(state, Turn(0, 1)))
    assert after.loss < before.loss
    assert after.accuracy > 0.8


def test_composing_is_paid_once_a_step(make_problem: MakeProblem) -> None:
    algorithm = built("fedpara", make_problem(), ratio=0.3)
    work = algorithm.work["train"](algorithm, algorithm.forecast(), Turn(0, 1))
    whole = 12 * (16 * 300 + 300 * 100 + 100 * 3)
    composing = 3 * 2 * (5 * 16 * 300 + 18 * 300 * 100)
    assert work.macs == whole + composing
    assert {layer.storage for layer in work.layers} == {Storage.DENSE}
    assert sum(layer.nonzero for layer in work.layers if layer.keeps_weight) == 300
    fedavg = built("fedavg", make_problem())
    plain = fedavg.work["train"](fedavg, fedavg.forecast(), Turn(0, 1))
    pi = simfl.device("pi4")
    assert pi.seconds(work) > pi.seconds(plain)


def test_ratios_of_ranks_and_of_parameters_differ(make_problem: MakeProblem) -> None:
    problem = make_problem()
    by_ranks = built("fedpara", problem, ratio=0.5)
    by_parameters = built("fedpara", problem, ratio=0.5, ratio_of="parameters")
    assert by_ranks.problem.layout.shape_of["fc2.x1"] == (100, 24)
    # 15,000 of 30,000 entries, over 2 x 400 for each rank
    assert by_parameters.problem.layout.shape_of["fc2.x1"] == (100, 19)
    # the root of 300 is more than a share of 4,800 allows
    assert by_parameters.problem.layout.shape_of["fc1.weight"] == (300, 16)


def test_factors_are_drawn_as_said(make_problem: MakeProblem) -> None:
    problem = make_problem()
    tensors = built("fedpara", problem, ratio=0.9, factors="public_code").initial().tensors
    assert float(tensors["fc2.x1"].std()) == pytest.approx(sqrt(2 / 100), rel=0.1)
    assert float(tensors["fc2.y1"].std()) == pytest.approx(sqrt(2 / 300), rel=0.1)
    tensors = built("fedpara", problem, ratio=0.9).initial().tensors
    x1, y1, x2, y2 = (tensors[f"fc2.{name}"] for name in ("x1", "y1", "x2", "y2"))
    composed = (x1 @ y1.T) * (x2 @ y2.T)
    assert float(composed.std()) == pytest.approx(sqrt(2 / 300), rel=0.15)
    assert not tensors["fc2.bias"].any()


def test_where_nothing_gets_smaller_it_says_so(make_problem: MakeProblem) -> None:
    with pytest.raises(OptionError, match="larger than each weight"):
        built("fedpara", make_problem(), ratio=1.0, ratio_of="parameters")
