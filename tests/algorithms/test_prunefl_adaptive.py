from itertools import product
from typing import Any

import pytest
import torch
from rounds import SERVER, MakeProblem, built, one_round

from simfl.errors import OptionError, ProtocolError
from simfl.learning.state import Received, Turn
from simfl.pruning.importance import Layer, by_cost, largest

OPTIONS = {"server_samples": 12, "server_passes": 0, "reconfigure_every": 2}


def random_layers(seed: int) -> dict[str, Layer]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: Layer(
            weight=torch.randn(size, generator=generator),
            mask=(torch.rand(size, generator=generator) < 0.6).float(),
            importance=torch.rand(size, generator=generator).square(),
            cost=cost,
        )
        for name, size, cost in (("a", 5, 1.0), ("b", 6, 2.5))
    }


@pytest.mark.parametrize("seed", range(12))
def test_no_other_choice_among_the_candidates_is_worth_more(seed: int) -> None:
    layers, fixed_s, share = random_layers(seed), 3.0, 0.4
    found = by_cost(layers, share, fixed_s)
    stays = {}
    for name, layer in layers.items():
        kept = layer.mask.bool().clone()
        order = torch.where(kept, layer.weight.abs(), torch.inf).argsort()
        kept[order[: int(share * int(kept.sum()))]] = False
        stays[name] = kept
        assert found[name][kept].all()

    def worth(masks: dict[str, torch.Tensor]) -> float:
        gained = sum(float(layers[n].importance[m.bool()].sum()) for n, m in masks.items())
        return gained / (fixed_s + sum(layers[n].cost * int(m.sum()) for n, m in masks.items()))

    free = [(n, i) for n in layers for i in (~stays[n]).nonzero()[:, 0].tolist()]
    best = 0.0
    for chosen in product((0, 1), repeat=len(free)):
        masks = {n: m.clone().float() for n, m in stays.items()}
        for (name, i), on in zip(free, chosen, strict=True):
            masks[name][i] = on
        best = max(best, worth(masks))
    assert worth(found) == pytest.approx(best, rel=1e-6)


def test_a_schedule_keeps_the_largest() -> None:
    layers = random_layers(1)
    found = largest(layers, 0.5)
    every = torch.cat([x.importance for x in layers.values()])
    kept = torch.cat(list(found.values())).bool()
    assert int(kept.sum()) == 5
    assert every[kept].min() >= every[~kept].max()


def test_importance_is_sent_when_it_is_due_and_begins_anew(make_problem: MakeProblem) -> None:
    problem = make_problem()
    algorithm = built("prunefl_adaptive", problem, **OPTIONS)
    model, held = algorithm.initial(), {}
    weights = sum(model.tensors[f"fc{i}.weight"].numel() for i in (1, 2, 3))
    sent: list[int] = []
    sums: list[Any] = []
    for round in range(1, 5):
        model = one_round(algorithm, model, round, held, (0, 1, 2, 3))
        sent.append(algorithm.share(held[0]).tensors.layout.size - problem.layout.size)
        sums.append(float(held[0].importance.sum()))
    assert sent == [0, weights, 0, weights]
    assert sums[1] > sums[0]
    assert model.masks is not None
    # a new structure is told to everybody, and known after that
    assert not algorithm.share(model).known
    model = one_round(algorithm, model, 5, held, (0, 1, 2, 3))
    assert algorithm.share(model).known


def test_what_comes_back_has_the_value_that_it_last_had(make_problem: MakeProblem) -> None:
    algorithm = built("prunefl_adaptive", make_problem(), **OPTIONS, adjustable=0.5, fixed="1 us")
    model, held = algorithm.initial(), {}
    for round in range(1, 3):
        model = one_round(algorithm, model, round, held, (0, 1, 2, 3))
    gone = model.masks.flat == 0
    assert gone.any()
    assert not model.tensors.flat[gone].any()
    assert model.last[gone].any()
    last = model.last[gone].clone()
    model = one_round(algorithm, model, 3, held, (0, 1, 2, 3))
    assert torch.equal(model.last[gone], last)


def test_what_costs_more_is_kept_less(make_problem: MakeProblem) -> None:
    kept = []
    for costs in (["1 us", "1 us", "1 us"], ["1 us", "9 us", "1 us"]):
        algorithm = built(
            "prunefl_adaptive", make_problem(), **OPTIONS, per_weight=costs, fixed="1 ms"
        )
        model, held = algorithm.initial(), {}
        for round in (1, 2):
            model = one_round(algorithm, model, round, held, (0, 1, 2, 3))
        views = model.masks.views
        kept.append(float(views["fc2.weight"].mean() / views["fc1.weight"].mean()))
    assert kept[1] < kept[0]


def test_the_server_prunes_first_and_nothing_comes_back_there(make_problem: MakeProblem) -> None:
    algorithm = built(
        "prunefl_adaptive",
        make_problem(),
        **OPTIONS | {"server_passes": 30, "server_every": 3},
        fixed="10 us",
    )
    state = algorithm.initial()
    assert state.masks is not None
    assert state.manifest().nonzero < algorithm.problem.layout.size
    assert not state.tensors.flat[state.masks.flat == 0].any()


def test_clients_keep_what_they_summed_up(make_problem: MakeProblem) -> None:
    algorithm = built("prunefl_adaptive", make_problem(), **OPTIONS | {"reconfigure_every": 9})
    down = Received(algorithm.share(algorithm.initial()), SERVER)
    once = algorithm.train(algorithm.adopt(None, down), Turn(0, 1))
    twice = algorithm.train(algorithm.adopt(once, down), Turn(0, 2))
    assert float(twice.importance.sum()) > float(once.importance.sum())


def test_mistakes(make_problem: MakeProblem) -> None:
    with pytest.raises(OptionError, match="2 given for the 3 layers"):
        built("prunefl_adaptive", make_problem(), per_weight=["1 us", "2 us"])
    with pytest.raises(OptionError, match="horizon"):
        built("prunefl_adaptive", make_problem(), target="schedule")
    algorithm = built("prunefl_adaptive", make_problem(), **OPTIONS)
    with pytest.raises(ProtocolError, match="take prunefl"):
        algorithm.mix(algorithm.initial(), ())
