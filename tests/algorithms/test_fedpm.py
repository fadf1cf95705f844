"""FedPM on the toy data; what all algorithms have in common is in the contract suite."""

from dataclasses import replace
from math import e, log
from typing import Any

import pytest
import torch
from rounds import SERVER, MakeProblem, built, one_round

from simfl.codecs.dense import Dense, DenseOptions
from simfl.errors import OptionError
from simfl.learning.scores import Scores, drawn
from simfl.learning.state import Received
from simfl.models.base import ModelOptions
from simfl.models.count import declare
from simfl.tensors import NamedTensors
from simfl.work import Turn

CLIENTS = (0, 1, 2, 3)


def updates(algorithm: Any, model: Any, round: int = 1) -> list[Received[Any]]:
    down = Received(algorithm.share(model), SERVER)
    states = [algorithm.train(algorithm.adopt(None, down), Turn(c, round)) for c in CLIENTS]
    who = algorithm.problem.participants
    return [Received(algorithm.share(s), w) for s, w in zip(states, who, strict=True)]


def test_gradients_by_scores_are_autograds() -> None:
    stream = torch.Generator().manual_seed(1)
    frozen, scores = torch.randn(7, generator=stream), torch.randn((2, 7), generator=stream)
    gradient = torch.randn((2, 7), generator=stream)
    at = scores.clone().requires_grad_()
    # straight through: the draw counts as the probability
    (torch.sigmoid(at) * frozen * gradient).sum().backward()
    assert at.grad is not None
    assert torch.allclose(Scores(frozen).by_score(gradient, scores), at.grad)
    damped = Scores(frozen, damped=True).by_score(gradient, scores)
    assert torch.allclose(damped, at.grad * scores.sigmoid())


def test_draws_have_the_probability_of_their_scores() -> None:
    scores = torch.full((40_000,), log(0.8 / 0.2))
    bits = drawn(scores, torch.Generator().manual_seed(2))
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert float(bits.mean()) == pytest.approx(0.8, abs=0.01)  # five standard deviations


def test_a_message_up_is_a_bit_for_each_weight(make_problem: MakeProblem) -> None:
    algorithm = built("fedpm", make_problem())
    model, codec = algorithm.initial(), Dense(DenseOptions())
    down = algorithm.share(model)
    assert codec.nbytes(down.manifest()) == 4 * model.tensors.layout.size
    for update in updates(algorithm, model):
        payload = update.payload
        assert set(payload.tensors.flat.unique().tolist()) == {0.0, 1.0}
        data = codec.encode(payload)
        sizes = model.tensors.layout.sizes
        assert len(data) == codec.nbytes(payload.manifest()) == sum(-(-s // 8) for s in sizes)
        back = codec.decode(data, payload.tensors.layout, dtype="bit")
        assert torch.equal(back.tensors.flat, payload.tensors.flat)


def test_what_is_no_bit_is_not_sent_as_one(make_problem: MakeProblem) -> None:
    algorithm = built("fedpm", make_problem())
    payload = replace(algorithm.share(algorithm.initial()), dtype="bit")
    with pytest.raises(ValueError, match="none that bit can hold"):
        Dense(DenseOptions()).encode(payload)


def test_the_mean_of_clipped_bits_is_the_next_probability(make_problem: MakeProblem) -> None:
    algorithm = built("fedpm", make_problem(), clip=0.05)
    model = algorithm.initial()
    received = updates(algorithm, model)
    after = algorithm.aggregate(model, tuple(received))
    clipped = [r.payload.tensors.flat.clamp(0.05, 0.95) for r in received]
    assert torch.allclose(after.tensors.flat.sigmoid(), sum(clipped) / 4, atol=1e-6)
    assert not after.bits


def test_frozen_weights_never_change(make_problem: MakeProblem) -> None:
    algorithm = built("fedpm", make_problem(), deployed="likely")
    model, held = algorithm.initial(), dict[int, Any]()
    for round in (1, 2, 3):
        deployed = algorithm.model(model)
        for name, values in deployed.tensors.items():
            kept = deployed.masks.views[name] == 1
            weight = name.replace("bias", "weight")
            c = e / model.tensors.layout.shape_of[weight][1] ** 0.5
            assert torch.allclose(values.abs(), torch.where(kept, c, 0.0))
            assert torch.equal(kept, model.tensors[name] > 0)
        model = one_round(algorithm, model, round, held, CLIENTS)


def test_it_learns(make_problem: MakeProblem) -> None:
    problem = make_problem(optimizer="adam", learning_rate=0.1, steps=10)
    algorithm = built("fedpm", problem)
    model, held = algorithm.initial(), dict[int, Any]()
    for round in range(1, 9):
        model = one_round(algorithm, model, round, held, CLIENTS)
    assert algorithm.score(model).accuracy > 0.8


def test_networks_that_normalise_are_refused(make_problem: MakeProblem) -> None:
    problem = make_problem()

    def normalised() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 3)
        )

    architecture = declare(
        "normalised", normalised, ModelOptions(), classes=3, sample_shape=(1, 4, 4)
    )
    with pytest.raises(OptionError, match="normalises; take a model without"):
        built("fedpm", replace(problem, architecture=architecture))


def test_states_are_scores_or_bits_and_say_so(make_problem: MakeProblem) -> None:
    algorithm = built("fedpm", make_problem())
    model = algorithm.initial()
    trained = algorithm.train(model, Turn(0, 1))
    assert {t.dtype for t in model.manifest().tensors} == {"float32"}
    assert {t.dtype for t in trained.manifest().tensors} == {"bit"}
    assert isinstance(trained.tensors, NamedTensors)
