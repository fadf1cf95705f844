import pytest
import torch
from rounds import SERVER, MakeProblem, built, one_round

from simfl.errors import OptionError, ProtocolError
from simfl.learning.state import Received, Turn
from simfl.objectives.base import Point

MAGNITUDE = {"horizon": 10, "penalty": 0.01}
CHANNELS = {"variant": "channels", "prune_every": 2, "threshold": 0.05}


def test_by_magnitude_client_and_server_prune_the_inner_layers(make_problem: MakeProblem) -> None:
    algorithm = built("prunetrain", make_problem(), **MAGNITUDE)
    held: dict[int, object] = {}
    model = one_round(algorithm, algorithm.initial(), 1, held, (0, 1, 2, 3))
    size = model.tensors["fc2.weight"].numel()
    for state in (model, *held.values()):
        kept = {n: int(m.sum()) for n, m in state.masks.views.items()}
        assert kept["fc2.weight"] == size - round(0.5 * size)
        assert all(kept[n] == state.tensors[n].numel() for n in kept if n != "fc2.weight")
    # the next turn trains all weights again, and prunes to the next sparsity
    local = algorithm.adopt(None, Received(algorithm.share(model), SERVER))
    assert algorithm.begin(local, Turn(0, 2)).masks is None
    second = algorithm.train(local, Turn(0, 2))
    share = 0.9 + (0.5 - 0.9) * (1 - 1 / 10) ** 3
    assert int(second.masks.views["fc2.weight"].sum()) == size - round(share * size)
    assert not algorithm.share(second).known


def test_the_coefficient_makes_the_lasso_its_share_of_the_loss(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm = built("prunetrain", problem, **CHANNELS, ratio=0.2)
    [term] = algorithm.rule(Turn(0, 1)).terms
    flat = problem.initial_tensors().flat[None]
    point = Point(at=flat, dense=flat, start=flat, layout=problem.layout)
    lasso = float(term.value(point)[0])
    data, module = problem.data_of(0), problem.architecture.build()
    module.load_state_dict(dict(problem.initial_tensors()))
    batch = slice(0, problem.local.batch_size)
    outputs = module(data.inputs[batch]).detach()
    loss = torch.nn.functional.cross_entropy(outputs, data.targets[batch])
    assert lasso / (lasso + float(loss)) == pytest.approx(0.2, rel=1e-5)


def test_the_lassos_gradient_is_autograds(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm = built("prunetrain", problem, **CHANNELS)
    [term] = algorithm.rule(Turn(0, 1)).terms
    flats = torch.randn(3, problem.layout.size, generator=torch.Generator().manual_seed(1))
    leaf = flats.clone().requires_grad_()
    point = Point(at=leaf, dense=leaf, start=leaf, layout=problem.layout)
    term.value(point).sum().backward()
    found = torch.zeros_like(flats)
    term.add_to(found, Point(at=flats, dense=flats, start=flats, layout=problem.layout))
    assert torch.allclose(found, leaf.grad, atol=1e-6)


def test_channels_without_weights_go_for_good(make_problem: MakeProblem) -> None:
    algorithm = built("prunetrain", make_problem(), **CHANNELS, gone="masked")
    state = algorithm.initial()
    flat = state.tensors.flat.clone()
    views = state.tensors.layout.views(flat)
    views["fc1.weight"][7] = 0.01  # an output channel below the threshold
    views["fc2.weight"][:, 9] = 0.0  # an input channel
    small = state.__class__(tensors=type(state.tensors)(state.tensors.layout, flat), rounds=2)
    settled = algorithm.settle(small)
    assert not settled.masks.views["fc1.weight"][7].any()
    assert not settled.masks.views["fc2.weight"][:, 9].any()
    assert settled.masks.views["fc1.weight"][6].all()
    # pixels and classes are no channels
    assert settled.masks.views["fc3.weight"].any(1).all()
    trained = algorithm.train(settled, Turn(0, 3))
    assert not trained.tensors["fc1.weight"][7].any()


def test_channels_that_nobody_reads_are_cut_out(make_problem: MakeProblem) -> None:
    problem = make_problem()
    cutting = built("prunetrain", problem, **CHANNELS)
    masking = built("prunetrain", problem, **CHANNELS, gone="masked")
    state = cutting.initial()
    flat = state.tensors.flat.clone()
    views = state.tensors.layout.views(flat)
    views["fc1.weight"][7] = 0.01  # goes, but is read: its bias may go on
    views["fc2.weight"][:, 9] = 0.0
    views["fc3.weight"][:, 3] = 0.0
    small = state.__class__(tensors=type(state.tensors)(state.tensors.layout, flat), rounds=2)
    cut, masked = cutting.settle(small), masking.settle(small)
    shapes = cut.tensors.layout.shape_of
    assert shapes["fc1.weight"] == (299, 16)
    assert shapes["fc2.weight"] == (99, 299)
    assert shapes["fc3.weight"] == (3, 99)
    assert not cut.masks.views["fc1.weight"][7].any()
    assert cutting.score(cut).loss == pytest.approx(masking.score(masked).loss, abs=1e-6)
    trained = cutting.train(cut, Turn(0, 3))
    assert not trained.tensors["fc1.weight"][7].any()
    works = [
        algorithm.training(settled.manifest(), steps=1, samples=1).macs
        for algorithm, settled in ((cutting, cut), (masking, masked))
    ]
    assert works == [299 * 16 + 99 * 299 + 3 * 99, 300 * 16 + 100 * 300 + 3 * 100]
    who = problem.participants
    with pytest.raises(ProtocolError, match="set gone: masked"):
        cutting.mix(cut, (Received(cutting.share(cut), who[1]),))


def test_options_that_do_not_fit(make_problem: MakeProblem) -> None:
    with pytest.raises(OptionError, match="horizon"):
        built("prunetrain", make_problem())
