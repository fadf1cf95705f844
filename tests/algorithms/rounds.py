"""Algorithms one by one, on the toy data; what all have in common is in the contract suite."""

from collections.abc import Callable
from typing import Any

from simfl.learning.problem import Problem
from simfl.learning.state import Received
from simfl.registry import ALGORITHMS
from simfl.work import Participant, Turn

MakeProblem = Callable[..., Problem]
SERVER = Participant(index=-1, samples=0)


def built(name: str, problem: Problem, **options: Any) -> Any:
    """An algorithm with some options."""
    plugin = ALGORITHMS.get(name)
    return plugin.build(plugin.options.model_validate(options), problem)


def one_round(
    algorithm: Any, model: Any, round: int, held: dict[int, Any], clients: tuple[int, ...]
) -> Any:
    """The server's model after a round; ``held`` are the clients' states, before and after."""
    received = []
    for client in clients:
        down = Received(algorithm.share(model), SERVER)
        local = algorithm.adopt(held.get(client), down)
        held[client] = algorithm.train(local, Turn(client, round))
        who = algorithm.problem.participants[client]
        received.append(Received(algorithm.share(held[client]), who))
    return algorithm.aggregate(model, tuple(received))
