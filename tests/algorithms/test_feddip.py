"""FedDIP against the paper's equations, and against a plain loop that is written out."""

import itertools

import pytest
import torch
from rounds import SERVER, MakeProblem, built, one_round
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

from simfl.learning.sgd import turn_batches
from simfl.learning.state import Received, Turn
from simfl.objectives.proximal import Proximal
from simfl.pruning.scope import erk_densities

OPTIONS = {"horizon": 10, "reconfigure_every": 2, "penalty": 0.02, "penalty_parts": 5}
WEIGHTS = ("fc1.weight", "fc2.weight", "fc3.weight")


def plain_turn(
    algorithm: object, tensors: dict[str, Tensor], masks: dict[str, Tensor], turn: Turn
) -> dict[str, Tensor]:
    """Lines 11 to 16 with torch's own autograd and SGD: gradients of the pruned, on the dense."""
    problem = algorithm.problem  # type: ignore[attr-defined]
    module: nn.Module = problem.architecture.build()
    dense = {name: tensor.clone() for name, tensor in tensors.items()}
    data = problem.data_of(turn.client)
    weight = algorithm.penalty_in(turn.index - 1)  # type: ignore[attr-defined]
    for batch in turn_batches(problem.local, len(data), turn, problem.seed):
        pruned = {n: w * masks[n] if n in masks else w for n, w in dense.items()}
        module.load_state_dict(pruned)
        module.zero_grad()
        loss = cross_entropy(module(data.inputs[batch]), data.targets[batch])
        named = dict(module.named_parameters())
        loss = loss + weight * sum(named[name].norm(2) for name in WEIGHTS)
        loss.backward()
        for name, parameter in named.items():
            step = parameter.grad + problem.local.weight_decay * dense[name]
            dense[name] -= problem.local.rate_in(turn.index) * step
    return dense


@pytest.mark.parametrize("round", [1, 5])
def test_a_turn_is_the_papers(make_problem: MakeProblem, round: int) -> None:
    problem = make_problem(weight_decay=0.01, rate_decay=0.9)
    algorithm = built("feddip", problem, **OPTIONS)
    model = one_round(algorithm, algorithm.initial(), 1, {}, (0, 1, 2, 3))
    received = Received(algorithm.share(model), SERVER)
    trained = algorithm.train(algorithm.adopt(None, received), Turn(2, round))
    masks = {name: model.masks.views[name] for name in WEIGHTS}
    expected = plain_turn(algorithm, dict(model.tensors), masks, Turn(2, round))
    for name, tensor in expected.items():
        assert torch.allclose(trained.tensors[name], tensor, atol=1e-6), name
    # what was pruned has come back to life, and all of it is sent
    assert trained.tensors.flat[model.masks.flat == 0].any()
    assert algorithm.share(trained).masks is None
    assert trained.manifest().nonzero == problem.layout.size


def test_the_first_masks_are_each_clients_own_at_erk_densities(make_problem: MakeProblem) -> None:
    algorithm = built("feddip", make_problem(), **OPTIONS, initial_sparsity=0.6)
    local = algorithm.adopt(None, Received(algorithm.share(algorithm.initial()), SERVER))
    masks = [algorithm.begin(local, Turn(client, 1)).masks for client in (0, 1)]
    assert not torch.equal(masks[0].flat, masks[1].flat)
    shapes = {name: tuple(local.tensors[name].shape) for name in WEIGHTS}
    densities = erk_densities(shapes, 0.4)
    for name in WEIGHTS:
        size = local.tensors[name].numel()
        kept = [int(m.views[name].sum()) for m in masks]
        assert kept == [int(densities[name] * size)] * 2
    # later turns have the server's mask, or none
    assert algorithm.begin(local, Turn(0, 2)).masks is None


def test_erk_as_dossier_1_3_has_it_for_lenet_and_alexnet() -> None:
    lenet = {
        "conv1": (6, 1, 5, 5),
        "conv2": (16, 6, 5, 5),
        "fc1": (120, 400),
        "fc2": (84, 120),
        "fc3": (10, 84),
    }
    sparsities = [1 - d for d in erk_densities(lenet, 0.5).values()]
    assert sparsities == pytest.approx([0, 0.475, 0.574, 0.204, 0], abs=0.001)
    alexnet = {
        "c1": (64, 3, 3, 3),
        "c2": (192, 64, 3, 3),
        "c3": (384, 192, 3, 3),
        "c4": (256, 384, 3, 3),
        "c5": (256, 256, 3, 3),
        "f1": (4096, 1024),
        "f2": (4096, 4096),
        "f3": (10, 4096),
    }
    sparsities = [1 - d for d in erk_densities(alexnet, 0.5).values()]
    assert sparsities == pytest.approx([0, 0, 0.331, 0.443, 0.331, 0.070, 0.628, 0], abs=0.001)


def test_the_mask_moves_every_r_rounds_to_the_scheduled_sparsity(make_problem: MakeProblem) -> None:
    algorithm = built("feddip", make_problem(), **OPTIONS)
    model, masks, held = algorithm.initial(), [], {}
    for number in range(1, 7):
        model = one_round(algorithm, model, number, held, (0, 1, 2, 3))
        masks.append(model.masks)
        assert not model.tensors.flat[model.masks.flat == 0].any()
    # reconfigured at t = 0, 2, 4
    moved = [not torch.equal(a.flat, b.flat) for a, b in itertools.pairwise(masks)]
    assert moved == [False, True, False, True, False]
    weights = sum(model.tensors[name].numel() for name in WEIGHTS)
    for t in (0, 2, 4):
        share = 0.9 + (0.5 - 0.9) * (1 - t / 10) ** 3
        pruned = masks[t].flat.numel() - int(masks[t].flat.sum())
        assert pruned == round(share * weights)


def test_the_servers_mask_is_torchs_global_one(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm = built("feddip", problem, **OPTIONS)
    first = algorithm.initial()
    who = problem.participants
    updates = tuple(
        Received(algorithm.share(algorithm.train(first, Turn(client, 1))), who[client])
        for client in range(4)
    )
    model = algorithm.aggregate(first, updates)
    mean = sum(u.payload.tensors.flat * (u.sender.samples / 60) for u in updates)
    module = problem.architecture.build()
    module.load_state_dict(problem.layout.views(mean))
    layers = [(module.get_submodule(n.removesuffix(".weight")), "weight") for n in WEIGHTS]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.5)
    for name, (layer, _) in zip(WEIGHTS, layers, strict=True):
        same = (model.masks.views[name] == layer.weight_mask).float().mean()
        assert same > 0.999  # the mean is summed in another order here


def test_penalties_of_paper_and_code(make_problem: MakeProblem) -> None:
    paper = built("feddip", make_problem(), horizon=1000)
    code = built("feddip", make_problem(), horizon=1000, penalty_schedule="public_code")
    assert [paper.penalty_in(t) for t in (0, 100, 999)] == pytest.approx([0, 1e-4, 9e-4])
    assert [code.penalty_in(t) for t in (0, 50, 999)] == pytest.approx(
        [0, 5e-4, 9.737e-4], rel=1e-3
    )
    assert built("feddip", make_problem(), horizon=9, penalty=0.0).rule(Turn(0, 5)).terms == ()


def test_with_a_proximal_term_it_is_feddip_prox(make_problem: MakeProblem) -> None:
    plain = built("feddip", make_problem(), **OPTIONS)
    near = built("feddip", make_problem(objective=(Proximal(mu=5.0),)), **OPTIONS)
    start = plain.initial()
    moved = [
        float((a.train(start, Turn(0, 1)).tensors.flat - start.tensors.flat).norm())
        for a in (plain, near)
    ]
    assert moved[1] < 0.7 * moved[0]


def test_eq_7_keeps_what_is_pruned_at_zero(make_problem: MakeProblem) -> None:
    algorithm = built("feddip", make_problem(), **OPTIONS, update="pruned")
    model = one_round(algorithm, algorithm.initial(), 1, {}, (0, 1))
    local = algorithm.adopt(None, Received(algorithm.share(model), SERVER))
    trained = algorithm.train(local, Turn(0, 2))
    assert not trained.tensors.flat[model.masks.flat == 0].any()
    assert algorithm.share(trained).masks is not None
    # the server knows its own mask
    assert algorithm.share(trained).known
