"""Accuracy and loss on the test set."""

import torch

from simfl.learning.problem import Problem
from simfl.learning.sgd import loss
from simfl.learning.state import ModelState, Score

_BATCH = 2000


def evaluate(problem: Problem, state: ModelState) -> Score:
    """Score a model on the whole test set; batch normalisation takes its running statistics."""
    net, test = problem.module, problem.test
    right, total_loss = 0, 0.0
    net.load(state.tensors)
    net.module.eval()
    with torch.no_grad():
        pairs = zip(test.inputs.split(_BATCH), test.targets.split(_BATCH), strict=True)
        for inputs, targets in pairs:
            output = net.module(inputs)
            classes = targets if targets.dim() == 1 else targets.argmax(1)
            right += int((output.argmax(1) == classes).sum())
            total_loss += float(loss(problem.local.loss, output, targets)) * len(inputs)
    net.module.train()
    return Score(accuracy=right / len(test), loss=total_loss / len(test))
