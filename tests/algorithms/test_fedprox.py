import pytest
import torch
from rounds import MakeProblem, built

from simfl.learning.state import Turn


def by_autograd(problem: object, mu: float) -> torch.Tensor:
    """A turn of SGD on loss + (mu / 2) ||w - w_0||^2, by torch."""
    from simfl.learning.sgd import turn_batches

    module = problem.architecture.build()  # type: ignore[attr-defined]
    module.load_state_dict(dict(problem.initial_tensors()))  # type: ignore[attr-defined]
    first = [p.detach().clone() for p in module.parameters()]
    data, local = problem.data_of(1), problem.local  # type: ignore[attr-defined]
    optimiser = torch.optim.SGD(module.parameters(), lr=local.learning_rate)
    for batch in turn_batches(local, len(data), Turn(1, 1), problem.seed):  # type: ignore[attr-defined]
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(data.inputs[batch]), data.targets[batch])
        away = sum((p - q).square().sum() for p, q in zip(module.parameters(), first, strict=True))
        (loss + mu / 2 * away).backward()
        optimiser.step()
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


@pytest.mark.parametrize("mu", [0.0, 0.5, 3.0])
def test_a_turn_is_as_autograd_has_it(make_problem: MakeProblem, mu: float) -> None:
    problem = make_problem()
    algorithm = built("fedprox", problem, mu=mu)
    trained = algorithm.train(algorithm.initial(), Turn(1, 1)).tensors.flat
    assert torch.allclose(trained, by_autograd(problem, mu), atol=1e-6)


def test_the_public_codes_term_is_nothing_on_a_dense_model(make_problem: MakeProblem) -> None:
    one = built("fedprox", make_problem(), mu=9.0, form="public_code")
    other = built("fedavg", make_problem())
    flats = [a.train(a.initial(), Turn(0, 1)).tensors.flat for a in (one, other)]
    assert torch.allclose(flats[0], flats[1], atol=1e-7)
