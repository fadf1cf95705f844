from collections.abc import Callable

import pytest
import torch

from simfl.datasets.base import Dataset
from simfl.learning import evaluate as evaluation
from simfl.learning.evaluate import evaluate
from simfl.learning.problem import LocalUpdate, Problem
from simfl.learning.state import ModelState
from simfl.tensors import NamedTensors

MakeProblem = Callable[..., Problem]


def test_clients_hold_all_training_samples_once(make_problem: MakeProblem, toy: Dataset) -> None:
    problem = make_problem(clients=7)
    held = [problem.data_of(client) for client in range(7)]
    assert [len(part) for part in held] == [9, 9, 9, 9, 8, 8, 8]
    assert [(p.index, p.samples) for p in problem.participants] == list(
        enumerate([9, 9, 9, 9, 8, 8, 8])
    )
    inputs = torch.cat([part.inputs for part in held]).mul(255).round().to(torch.uint8)
    targets = torch.cat([part.targets for part in held])
    # a client's labels go with its images
    pairs = {(*image.flatten().tolist(), int(t)) for image, t in zip(inputs, targets, strict=True)}
    assert pairs == {
        (*image.flatten().tolist(), int(t))
        for image, t in zip(toy.train_images, toy.train_labels, strict=True)
    }


def test_models_see_values_from_zero_to_one(make_problem: MakeProblem, toy: Dataset) -> None:
    problem = make_problem()
    assert torch.equal(problem.test.inputs, toy.test_images.float() / 255)
    assert problem.test.inputs.max() <= 1
    assert torch.equal(problem.test.targets, toy.test_labels)
    some = problem.samples(torch.tensor([5, 0]))
    assert torch.equal(some.targets, toy.train_labels[[5, 0]])


def test_targets_are_rows_for_the_loss_over_classes(
    make_problem: MakeProblem, toy: Dataset
) -> None:
    targets = make_problem(loss="bce_with_logits").test.targets
    assert targets.shape == (12, 3)
    assert targets.dtype == torch.float32
    assert torch.equal(targets.argmax(1), toy.test_labels)
    assert torch.equal(targets.sum(1), torch.ones(12))


def test_the_seed_draws_the_first_model(make_problem: MakeProblem) -> None:
    first, again = make_problem(), make_problem()
    assert torch.equal(first.initial_tensors().flat, again.initial_tensors().flat)
    assert first.initial_tensors().layout == first.layout
    other = make_problem(seed=2).initial_tensors()
    assert not torch.equal(first.initial_tensors().flat, other.flat)


def test_a_turn_is_steps_or_whole_passes() -> None:
    steps = LocalUpdate(learning_rate=1, batch_size=4, steps=3)
    epochs = LocalUpdate(learning_rate=1, batch_size=4, epochs=3)
    assert [steps.steps_on(n) for n in (1, 4, 5)] == [3, 3, 3]
    assert [epochs.steps_on(n) for n in (1, 4, 5)] == [3, 3, 6]


def scores_of(problem: Problem, *rows: list[float]) -> ModelState:
    """A model whose outputs are the same for every image: the last layer's biases."""
    tensors = {name: torch.zeros(t.shape) for name, t in problem.initial_tensors().items()}
    tensors["fc3.bias"] = torch.tensor(rows[0])
    return ModelState(tensors=NamedTensors.pack(tensors))


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits"])
def test_a_model_that_always_says_one_class(make_problem: MakeProblem, loss: str) -> None:
    problem = make_problem(loss=loss)
    score = evaluate(problem, scores_of(problem, [0.0, 2.0, 0.0]))
    # a third of the test labels is 1
    assert score.accuracy == pytest.approx(1 / 3)
    expected = {
        # ln(2 + e^2) less the right class's output
        "cross_entropy": 2.2395448 - 2 / 3,
        # ln(1 + e^2) and 2 ln 2, less the right class's output, over three classes
        "bce_with_logits": (2.1269280 + 2 * 0.6931472 - 2 / 3) / 3,
    }
    assert score.loss == pytest.approx(expected[loss], rel=1e-5)
    assert score.manifest().metrics == {"accuracy": score.accuracy, "loss": score.loss}


@pytest.mark.parametrize("batch", [1, 5, 12, 100])
def test_the_score_does_not_depend_on_its_batches(
    make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    problem = make_problem()
    state = ModelState(tensors=problem.initial_tensors())
    whole = evaluate(problem, state)
    monkeypatch.setattr(evaluation, "_BATCH", batch)
    parts = evaluate(problem, state)
    assert parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert 0 < whole.accuracy < 1
