from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from simfl.algorithms.fedavg import FedAvg, FedAvgOptions
from simfl.datasets.base import Dataset, RecordedDataset
from simfl.errors import ReplayMiss
from simfl.learning import evaluate as evaluation
from simfl.learning.evaluate import evaluate
from simfl.learning.network import AutogradNetwork
from simfl.learning.normalization import Normalization
from simfl.learning.problem import LocalUpdate, Problem
from simfl.learning.state import ModelState, Received, Turn
from simfl.models.base import Architecture, ModelOptions, chain
from simfl.models.count import declare
from simfl.partitions.base import Partition
from simfl.partitions.iid import IidOptions
from simfl.partitions.pathological import PathologicalOptions
from simfl.partitions.transformed_copies import TransformedCopiesOptions
from simfl.registry import MODELS
from simfl.tensors import NamedTensors

SHARDS = PathologicalOptions(classes=1)
IID = Partition(name="iid", options=IidOptions())
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


def test_images_are_normalised(make_problem: MakeProblem, toy: Dataset) -> None:
    problem = make_problem(normalization=Normalization(mean=(0.1307,), std=(0.3081,)))
    due = (toy.test_images.float() / 255 - 0.1307) / 0.3081
    assert problem.test.inputs.dtype == torch.float32
    assert torch.equal(problem.test.inputs, due)
    every = torch.cat([problem.data_of(client).inputs for client in range(4)])
    assert every.mean() == pytest.approx(
        float(toy.train_images.float().mean() / 255 - 0.1307) / 0.3081, rel=1e-5
    )
    assert torch.equal(
        problem.samples(torch.tensor([3])).inputs,
        (toy.train_images[3:4].float() / 255 - 0.1307) / 0.3081,
    )
    assert problem.name != make_problem().name


def test_each_channel_is_normalised_by_its_own_numbers() -> None:
    images = torch.full((2, 3, 1, 2), 0.5)
    found = Normalization(mean=(0.5, 0.25, 0.0), std=(1.0, 0.5, 0.25)).apply_(images)
    assert torch.equal(found[:, :, 0, 0], torch.tensor([[0.0, 0.5, 2.0]] * 2))


def test_another_partition_is_another_problem(make_problem: MakeProblem) -> None:
    other = replace(IID, options=IidOptions(parts=5))
    problem = make_problem(partition=other)
    assert [p.samples for p in problem.participants] == [12] * 4
    assert problem.name != make_problem().name


def test_clients_see_their_samples_under_their_transform(
    make_problem: MakeProblem, toy: Dataset
) -> None:
    copies = Partition(name="transformed_copies", options=TransformedCopiesOptions(of="all"))
    normalization = Normalization(mean=(0.5,), std=(0.5,))
    problem = make_problem(partition=copies, normalization=normalization)
    assert [p.samples for p in problem.participants] == [60] * 4
    plain, mirrored = problem.data_of(0), problem.data_of(1)
    assert torch.equal(plain.inputs.flip(-1), mirrored.inputs)
    assert torch.equal(plain.targets, mirrored.targets)
    first = toy.train_images[problem.shares[0].samples[0]].float() / 255
    assert torch.allclose(plain.inputs[0], (first - 0.5) / 0.5)
    # the test set is as it is
    assert torch.equal(problem.test.inputs, (toy.test_images.float() / 255 - 0.5) / 0.5)


def test_what_clients_hold_is_counted(make_problem: MakeProblem, toy: Dataset) -> None:
    problem = make_problem(partition=Partition(name="pathological", options=SHARDS), clients=3)
    assert problem.held.sizes == [20, 20, 20]
    assert problem.held.of == ["", "", ""]
    for share, classes in zip(problem.shares, problem.held.classes or [], strict=True):
        [(name, count)] = classes.items()
        assert toy.train_labels[share.samples].tolist() == [int(name)] * count
    # as a trace says, without a label
    unopened = replace(problem, dataset=RecordedDataset(toy.facts()), recorded=problem.held)
    assert unopened.participants == problem.participants
    with pytest.raises(ReplayMiss, match="toy is not opened"):
        _ = replace(unopened, clients=2).participants


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


@pytest.mark.parametrize(
    ("changes", "shortest"),
    [
        # 15 samples a client, in batches of 4, 4, 4 and 3
        ({"steps": 3}, 4),
        ({"steps": 4}, 3),
        ({"steps": 3, "order": "sequential"}, 3),
        ({"steps": None, "epochs": 1}, 3),
        ({"steps": 1, "batch_size": 14}, 14),
        ({"steps": 2, "batch_size": 14}, 1),
        ({"steps": 1, "batch_size": 20}, 15),
    ],
)
def test_the_shortest_batch(
    make_problem: MakeProblem, changes: dict[str, object], shortest: int
) -> None:
    assert make_problem(**changes).shortest_batch() == shortest


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


def normalised_chain() -> nn.Module:
    return chain(
        conv=nn.Conv2d(1, 2, 3),
        norm=nn.BatchNorm2d(2),
        relu=nn.ReLU(),
        flatten=nn.Flatten(),
        fc=nn.Linear(8, 3),
    )


@pytest.fixture
def normalised(make_problem: MakeProblem) -> Problem:
    """A problem whose network has batch normalisation."""
    architecture: Architecture = declare(
        "normalised", normalised_chain, ModelOptions(), classes=3, sample_shape=(1, 4, 4)
    )
    return replace(make_problem(), architecture=architecture)


PARAMETERS = ("conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias")
BUFFERS = ("norm.running_mean", "norm.running_var")


def test_buffers_stand_behind_the_parameters(normalised: Problem) -> None:
    assert normalised.layout.names == PARAMETERS + BUFFERS
    first = normalised.initial_tensors()
    assert first.layout == normalised.layout
    assert first["norm.running_mean"].tolist() == [0, 0]
    assert first["norm.running_var"].tolist() == [1, 1]
    trained = sum(normalised.layout.sizes[: len(PARAMETERS)])
    assert normalised.network(normalised.layout).weights.shape == (1, trained)


def test_a_state_carries_the_running_statistics(normalised: Problem) -> None:
    module = normalised_chain()
    net = AutogradNetwork(module)
    first = normalised.initial_tensors()
    net.load([first.flat])
    data = normalised.data_of(0)
    inputs, targets = data.inputs[:4], data.targets[:4]
    with torch.no_grad():
        before_norm = module.conv(inputs)  # type: ignore[operator]
    net.gradient(inputs[None], targets[None], "cross_entropy", add=False)
    views = normalised.layout.views(net.packed[0])
    # momentum 0.1: a tenth of the batch's mean, nine tenths of 0
    assert torch.allclose(views["norm.running_mean"], 0.1 * before_norm.mean((0, 2, 3)))
    net.load([first.flat])
    assert views["norm.running_var"].tolist() == [1, 1]


def test_training_moves_buffers_and_averaging_takes_their_mean(normalised: Problem) -> None:
    algorithm = FedAvg(FedAvgOptions(), normalised)
    first = algorithm.initial()
    trained = [algorithm.train(first, Turn(client, 1)) for client in (0, 1)]
    means = [state.tensors["norm.running_mean"] for state in trained]
    assert all(mean.any() for mean in means)
    assert not torch.equal(*means)
    received = tuple(
        Received(algorithm.share(state), who)
        for state, who in zip(trained, normalised.participants, strict=False)
    )
    mean = algorithm.aggregate(first, received).tensors["norm.running_mean"]
    assert torch.allclose(mean, (means[0] + means[1]) / 2)
    assert trained[0].manifest().size == normalised.layout.size
    again = FedAvg(FedAvgOptions(), replace(normalised)).train(first, Turn(0, 1))
    assert torch.equal(again.tensors.flat, trained[0].tensors.flat)


def test_the_score_takes_the_running_statistics(
    normalised: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = FedAvg(FedAvgOptions(), normalised)
    state = algorithm.train(algorithm.initial(), Turn(0, 1))
    before = state.tensors.flat.clone()
    whole = evaluate(normalised, state)
    monkeypatch.setattr(evaluation, "_BATCH", 5)
    # statistics of the batch would make this another score
    assert evaluate(normalised, state).loss == pytest.approx(whole.loss, rel=1e-5)
    assert torch.equal(state.tensors.flat, before)
    # and training goes on as if nothing had been scored
    fresh = FedAvg(FedAvgOptions(), replace(normalised)).train(state, Turn(0, 2))
    assert torch.equal(algorithm.train(state, Turn(0, 2)).tensors.flat, fresh.tensors.flat)


def test_a_models_options_are_in_the_name(make_problem: MakeProblem) -> None:
    plugin, names = MODELS.get("resnet18"), set()
    for options in ({}, {"stem": "torchvision"}, {"init": "torch"}):
        chosen = plugin.options(**options)
        model = plugin.build(chosen, classes=3, sample_shape=(3, 32, 32))
        names.add(replace(make_problem(), architecture=model).name)
    assert len(names) == 3
