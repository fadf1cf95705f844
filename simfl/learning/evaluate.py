"""Accuracy and loss on the test set, or on other samples."""

from math import sqrt

from simfl.learning.network import loss_of, losses_of
from simfl.learning.problem import ClientData, Problem
from simfl.learning.state import ModelState, Score

_BATCH = 2000


def evaluate(problem: Problem, state: ModelState, data: ClientData | None = None) -> Score:
    """Score a model on the whole test set, or on other samples."""
    net, test = problem.network(state.tensors.layout), problem.test if data is None else data
    right, total_loss = 0, 0.0
    net.load([state.tensors.flat])
    pairs = zip(test.inputs.split(_BATCH), test.targets.split(_BATCH), strict=True)
    for inputs, targets in pairs:
        output = net.logits(inputs)
        classes = targets if targets.dim() == 1 else targets.argmax(1)
        right += int((output.argmax(1) == classes).sum())
        total_loss += float(loss_of(problem.local.loss, output, targets)) * len(inputs)
    return Score(accuracy=right / len(test), loss=total_loss / len(test))


def root_mean_square_loss(problem: Problem, state: ModelState, client: int) -> float:
    """Of the losses of a client's samples."""
    net, data = problem.network(state.tensors.layout), problem.data_of(client)
    net.load([state.tensors.flat])
    total = 0.0
    for inputs, targets in zip(data.inputs.split(_BATCH), data.targets.split(_BATCH), strict=True):
        losses = losses_of(problem.local.loss, net.logits(inputs), targets)
        total += float(losses.square().sum())
    return sqrt(total / len(data))


def share_right(problem: Problem, state: ModelState, data: ClientData) -> float:
    """The share of some samples that a model classifies right."""
    net = problem.network(state.tensors.layout)
    net.load([state.tensors.flat])
    found = net.logits(data.inputs).argmax(1)
    classes = data.targets if data.targets.dim() == 1 else data.targets.argmax(1)
    return float((found == classes).float().mean())
