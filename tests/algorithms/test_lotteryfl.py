"""LotteryFL on the toy data; what all algorithms have in common is in the contract suite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from rounds import SERVER, MakeProblem, built

from simfl.codecs.values_only import ValuesOnly, ValuesOnlyOptions
from simfl.errors import ProtocolError
from simfl.learning.evaluate import evaluate
from simfl.learning.problem import ClientData
from simfl.learning.state import Received
from simfl.partitions.base import Partition
from simfl.partitions.pathological import PathologicalOptions
from simfl.pruning.masks import full, over
from simfl.work import Passes, Turn

WEIGHTS = ("fc1.weight", "fc2.weight", "fc3.weight")
ONE_CLASS = Partition(name="pathological", options=PathologicalOptions(classes=1))


def visit(algorithm: Any, model: Any, client: int, round: int, before: Any = None) -> Any:
    """A client's state after a turn."""
    who = algorithm.problem.participants[client]
    down = Received(algorithm.share(model, who), SERVER)
    return algorithm.train(algorithm.adopt(before, down), Turn(client, round))


def received(algorithm: Any, states: dict[int, Any]) -> tuple[Any, ...]:
    who = algorithm.problem.participants
    return tuple(Received(algorithm.share(s), who[c]) for c, s in sorted(states.items()))


def masked(algorithm: Any, state: Any, **views: torch.Tensor) -> Any:
    masks = over(state.tensors.layout, {n.replace("__", "."): v for n, v in views.items()})
    return state.under(masks)


def test_a_client_that_does_well_prunes_and_goes_back_to_the_start(
    make_problem: MakeProblem,
) -> None:
    algorithm = built("lotteryfl", make_problem(), threshold=0.0, rate=0.25)
    first = algorithm.initial()
    moved = replace(first, tensors=replace(first.tensors, flat=first.tensors.flat + 0.5))
    ticket = algorithm.ticket(moved, Turn(0, 1))
    assert ticket.left == 0.75
    for name in WEIGHTS:
        mask = ticket.masks.views[name]
        size = mask.numel()
        assert int(mask.sum()) == size - size // 4
        # the initial values, of what is left by the magnitudes that arrived
        assert torch.equal(ticket.tensors[name], first.tensors[name] * mask)
        arrived = moved.tensors[name].abs()
        assert float(arrived[mask == 0].max()) <= float(arrived[mask == 1].min())
    assert torch.equal(ticket.tensors["fc1.bias"], first.tensors["fc1.bias"])


def test_a_client_that_does_badly_trains_what_arrived(make_problem: MakeProblem) -> None:
    algorithm = built("lotteryfl", make_problem(), threshold=0.999)
    state = algorithm.initial()
    assert algorithm.ticket(state, Turn(0, 1)) is state


def test_it_prunes_until_the_target_and_no_further(make_problem: MakeProblem) -> None:
    algorithm = built("lotteryfl", make_problem(), threshold=0.0, target=0.5)
    state, left = algorithm.initial(), []
    for turn in range(1, 6):
        state = algorithm.ticket(state, Turn(0, turn))
        left.append(round(state.left, 6))
    assert left == [0.8, 0.64, 0.512, 0.4096, 0.4096]


def test_what_is_pruned_is_not_trained(make_problem: MakeProblem) -> None:
    algorithm = built("lotteryfl", make_problem(), threshold=0.0)
    state = visit(algorithm, algorithm.initial(), 0, 1)
    for name in WEIGHTS:
        assert not state.tensors[name][state.masks.views[name] == 0].any()
    assert state.left == 0.8


def test_each_entry_is_the_mean_over_those_who_have_it(make_problem: MakeProblem) -> None:
    algorithm = built("lotteryfl", make_problem())
    model = algorithm.initial()
    one, two = torch.ones(3, 100), torch.ones(3, 100)
    one[:, 0] = two[:, 0] = 0  # nobody's
    one[:, 1] = 0  # the second's alone
    states = {
        0: masked(algorithm, model, fc3__weight=one),
        2: masked(algorithm, model, fc3__weight=two),
    }
    states[2] = replace(
        states[2],
        tensors=replace(states[2].tensors, flat=3 * states[2].tensors.flat),
    )
    after = algorithm.aggregate(model, received(algorithm, states))
    start, found = model.tensors["fc3.weight"], after.tensors["fc3.weight"]
    assert torch.equal(found[:, 0], start[:, 0])
    assert torch.allclose(found[:, 1], 3 * start[:, 1])
    assert torch.allclose(found[:, 2:], 2 * start[:, 2:])
    assert torch.allclose(after.tensors["fc1.weight"], 2 * model.tensors["fc1.weight"])


def test_each_client_is_sent_its_own_part(make_problem: MakeProblem) -> None:
    algorithm, codec = built("lotteryfl", make_problem()), ValuesOnly(ValuesOnlyOptions())
    model, who = algorithm.initial(), algorithm.problem.participants
    half = torch.zeros(300, 16)
    half[:150] = 1
    states = {0: masked(algorithm, model, fc1__weight=half), 1: model}
    model = algorithm.aggregate(model, received(algorithm, states))
    sizes = [codec.nbytes(algorithm.share(model, who[c]).manifest()) for c in (0, 1, 3)]
    # the server knows the first one's mask: values alone, but for counts of a byte or two
    assert abs(sizes[1] - sizes[0] - 4 * 2400) <= 12
    assert sizes[1] == sizes[2] >= 4 * model.tensors.layout.size
    part = algorithm.share(model, who[0])
    assert not part.tensors["fc1.weight"][150:].any()
    # on its way up for the first time the mask goes along
    news = codec.nbytes(algorithm.share(states[0]).manifest())
    assert news >= sizes[0] + 4800 // 8


def test_a_client_keeps_its_mask_from_turn_to_turn(make_problem: MakeProblem) -> None:
    algorithm = built("lotteryfl", make_problem(), threshold=0.0, target=0.7)
    model = algorithm.initial()
    states = {c: visit(algorithm, model, c, 1) for c in (0, 1)}
    model = algorithm.aggregate(model, received(algorithm, states))
    again = visit(algorithm, model, 0, 2, states[0])
    dropped = states[0].masks.flat == 0
    assert not again.tensors.flat[dropped].any()
    assert again.left == pytest.approx(0.64)


def test_personal_and_global_accuracy_are_different_questions(make_problem: MakeProblem) -> None:
    problem = make_problem(steps=6)
    personal = built("lotteryfl", problem, threshold=0.0, target=0.7)
    everybody = built("lotteryfl", problem, threshold=0.0, target=0.7, evaluate="global")
    model = personal.initial()
    states = {c: visit(personal, model, c, 1) for c in range(4)}
    model = personal.aggregate(model, received(personal, states))
    masks = full(model.tensors.layout)
    assert personal.personal(model, 0).masks.flat.sum() < masks.flat.sum()
    assert personal.score(model) != everybody.score(model)
    assert personal.personal(model, 99) is model


def test_personal_accuracy_is_the_mean_over_those_who_took_part(make_problem: MakeProblem) -> None:
    """Of each under its last mask, on the test samples of the classes that it holds."""
    problem = make_problem(partition=ONE_CLASS, clients=3)
    algorithm = built("lotteryfl", problem, threshold=0.0, evaluated=3)
    model = algorithm.initial()
    # nobody took part: the initial weights on the test set
    assert algorithm.score(model) == evaluate(problem, model)
    left, right = torch.zeros(300, 16), torch.zeros(300, 16)
    left[:, :8] = right[:, 8:] = 1
    states = {0: masked(algorithm, model, fc1__weight=left)}
    states[2] = masked(algorithm, model, fc1__weight=right)
    model = algorithm.aggregate(model, received(algorithm, states))
    found = []
    for client in (0, 2):
        [label] = set(problem.data_of(client).targets.tolist())
        own = problem.test.targets == label
        data = ClientData(problem.test.inputs[own], problem.test.targets[own])
        found.append(evaluate(problem, model.under(states[client].masks), data).loss)
    assert found[0] != found[1]
    assert algorithm.score(model).loss == pytest.approx(sum(found) / 2, rel=1e-9)


def test_a_turn_is_charged_with_the_trial_and_with_pruning(make_problem: MakeProblem) -> None:
    problem = make_problem()
    manifest = built("fedavg", problem).initial().manifest()
    # 15 samples held
    for tried, tested in ((6, 6), (80, 15)):
        algorithm = built("lotteryfl", problem, tried=tried)
        work = algorithm.work["train"](algorithm, manifest, Turn(0, 1))
        assert (work.tested, work.samples, work.steps) == (tested, 12, 3)
        assert (work.test.samples, work.test.passes) == (tested, Passes.FORWARD)
        assert work.moved_bytes == 20 * manifest.size


def test_peers_are_refused(make_problem: MakeProblem) -> None:
    algorithm = built("lotteryfl", make_problem())
    state = algorithm.initial()
    with pytest.raises(ProtocolError, match="take the protocol synchronous"):
        algorithm.mix(state, received(algorithm, {0: state}))
