"""DFL-Trim on the toy data; what all algorithms have in common is in the contract suite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from rounds import MakeProblem, built

from simfl.errors import OptionError
from simfl.learning.state import Received
from simfl.partitions.base import Partition
from simfl.partitions.iid import IidOptions
from simfl.work import Turn

HALF = Partition(name="iid", options=IidOptions(train_share=0.5))


def trained(algorithm: Any, state: Any, client: int, round: int = 1) -> Any:
    return algorithm.train(state, Turn(client, round))


def received(algorithm: Any, states: dict[int, Any]) -> tuple[Any, ...]:
    who = algorithm.problem.participants
    return tuple(Received(algorithm.share(s), who[c]) for c, s in states.items())


def test_what_is_sent_is_pruned_and_what_is_kept_is_not(make_problem: MakeProblem) -> None:
    algorithm = built("dfl_trim", make_problem(), method="gup", rate=0.6)
    state = trained(algorithm, algorithm.initial(), 0)
    sent = algorithm.share(state)
    size = state.tensors.layout.size
    assert sent.masks.flat.sum() == size - round(0.6 * size)
    assert int((sent.tensors.flat != 0).sum()) <= int(sent.masks.flat.sum())
    assert int((state.tensors.flat == 0).sum()) < 0.1 * size
    dropped = state.tensors.flat[sent.masks.flat == 0].abs()
    assert float(dropped.max()) <= float(sent.tensors.flat[sent.masks.flat == 1].abs().min())


def test_the_own_part_of_the_mean_is_unpruned(make_problem: MakeProblem) -> None:
    algorithm = built("dfl_trim", make_problem(), method="lup", rate=0.5)
    first = algorithm.initial()
    states = {c: trained(algorithm, first, c) for c in (0, 1, 3)}
    others = received(algorithm, {c: states[c] for c in (1, 3)})
    mixed = algorithm.mix(states[0], others)
    # line 15, then 16 and 17
    mean = (states[0].tensors.flat + sum(r.payload.tensors.flat for r in others)) / 3
    kept = mixed.masks.flat
    assert torch.allclose(mixed.tensors.flat, mean * kept, atol=1e-6)
    for name in ("fc1.weight", "fc2.weight", "fc3.weight"):
        mask = mixed.masks.views[name]
        assert int(mask.sum()) == mask.numel() - mask.numel() // 2
    assert mixed.masks.views["fc1.bias"].all()


def test_pruned_weights_stay_zero_while_a_peer_trains(make_problem: MakeProblem) -> None:
    algorithm = built("dfl_trim", make_problem(), method="gup", rate=0.6)
    state = trained(algorithm, algorithm.initial(), 0)
    mixed = algorithm.mix(state, received(algorithm, {1: state}))
    later = trained(algorithm, mixed, 0, 2)
    assert not later.tensors.flat[mixed.masks.flat == 0].any()
    assert later.structure is mixed.masks


def test_pretraining_is_on_samples_that_no_client_holds(make_problem: MakeProblem) -> None:
    problem = make_problem(partition=HALF)
    settings = {"method": "gup", "rate": 0.4, "pretrain_epochs": 3}
    algorithm = built("dfl_trim", problem, **settings, pretrain_samples=10)
    held = torch.cat([share.samples for share in problem.shares])
    left = algorithm._left_over()
    assert len(left) == 10
    assert not torch.isin(left, held).any()
    dense = built("dfl_trim", problem, method="gup", rate=0.4).initial()
    assert algorithm.initial().masks is None
    assert not torch.equal(algorithm.initial().tensors.flat, dense.tensors.flat)
    work = algorithm.work["initial"](algorithm)
    # three passes over 10 samples in batches of 4
    assert (work.steps, work.samples) == (9, 30)
    with pytest.raises(OptionError, match="1000 of the 32 samples that no client holds"):
        built("dfl_trim", problem, **settings).initial()


def test_rates_of_zero_are_d_psgd(make_problem: MakeProblem) -> None:
    problem = make_problem()
    trim = built("dfl_trim", problem, method="gup", rate=0.0)
    plain = built("fedavg", problem, average="uniform")
    results = []
    for algorithm in (trim, plain):
        states = {c: trained(algorithm, algorithm.initial(), c) for c in (0, 1)}
        results.append(algorithm.mix(states[0], received(algorithm, {1: states[1]})))
    assert torch.equal(results[0].tensors.flat, results[1].tensors.flat)
    assert replace(results[0], masks=None).manifest() == results[1].manifest()
