"""AutoPrune on the toy data; what all algorithms have in common is in the contract suite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from rounds import SERVER, MakeProblem, built, one_round

from simfl.algorithms.autoprune import within
from simfl.errors import OptionError, ProtocolError
from simfl.learning.state import Received
from simfl.tensors import NamedTensors

CLIENTS = (0, 1, 2, 3)


def autoprune(make_problem: MakeProblem, **options: Any) -> Any:
    return built("autoprune", make_problem(filters=True), **options)


def with_filters(state: Any, name: str, sizes: list[float]) -> Any:
    """The state with filters of these sums of magnitudes."""
    found = {n: t.clone() for n, t in state.tensors.items()}
    weight = found[name]
    for filter, size in zip(weight, sizes, strict=True):
        filter.fill_(size / filter.numel())
    return replace(state, tensors=NamedTensors.pack(found))


def silent(algorithm: Any, state: Any) -> Any:
    """The mean of updates that changed nothing."""
    payload = algorithm.share(state)
    who = algorithm.problem.participants
    return algorithm.aggregate(state, tuple(Received(payload, w) for w in who))


def test_filters_within_k_deviations_stay() -> None:
    sizes = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])
    # mean 4, population deviation sqrt(10)
    assert within(sizes, 1.0).tolist() == [True, True, True, True, False]
    assert within(sizes, 0.9).tolist() == [False, True, True, True, False]
    assert within(sizes, 3.0).all()
    # of none within, the one nearest to the mean
    assert within(torch.tensor([0.0, 0.1, 1.0, 1.1]), 0.5).sum() == 1
    assert within(torch.full((4,), 2.0), 0.1).all()


def test_what_goes_is_cut_out_with_all_that_reads_it(make_problem: MakeProblem) -> None:
    algorithm = autoprune(make_problem, k=2.0)
    before = with_filters(algorithm.initial(), "conv1.weight", [1, 1.1, 0.9, 1, 1, 9])
    before = with_filters(before, "conv2.weight", [2.0] * 8)
    after = silent(algorithm, before)
    shapes = after.tensors.layout.shape_of
    assert shapes["conv1.weight"] == (5, 1, 3, 3)
    assert shapes["conv1.bias"] == (5,)
    assert shapes["conv2.weight"] == (8, 5, 3, 3)
    assert shapes["fc.weight"] == (3, 32)
    assert torch.allclose(after.tensors["conv1.weight"], before.tensors["conv1.weight"][:5])
    assert torch.allclose(after.tensors["conv2.weight"], before.tensors["conv2.weight"][:, :5])
    assert (after.idle, after.found) == (0, False)


def test_a_reinitialised_network_is_another_draw_of_that_size(make_problem: MakeProblem) -> None:
    keep, anew = (autoprune(make_problem, k=2.0, weights=w) for w in ("keep", "reinit"))
    before = with_filters(keep.initial(), "conv1.weight", [1, 1.1, 0.9, 1, 1, 9])
    kept, drawn = silent(keep, before), silent(anew, before)
    assert kept.tensors.layout == drawn.tensors.layout
    assert not torch.equal(kept.tensors.flat, drawn.tensors.flat)
    first = drawn.tensors["conv1.weight"]
    bound = (6 / 9) ** 0.5
    assert 0.5 * bound < float(first.abs().max()) <= bound
    assert torch.equal(drawn.tensors.flat, silent(anew, before).tensors.flat)


def test_the_search_ends_after_some_rounds_without_a_cut(make_problem: MakeProblem) -> None:
    algorithm = autoprune(make_problem, k=3.0, patience=2)
    state = algorithm.initial()
    for idle in (1, 2):
        state = silent(algorithm, state)
        assert (state.idle, state.found) == (idle, idle == 2)
    far = with_filters(state, "conv1.weight", [1, 1, 1, 1, 1, 900])
    loose = autoprune(make_problem, k=0.5, patience=2)
    assert silent(loose, far).tensors.layout == far.tensors.layout
    assert silent(loose, replace(far, found=False)).tensors.layout != far.tensors.layout


def test_the_search_ends_after_the_most_rounds(make_problem: MakeProblem) -> None:
    algorithm = autoprune(make_problem, k=3.0, patience=9, search_rounds=2)
    state = silent(algorithm, algorithm.initial())
    assert not state.found
    assert silent(algorithm, state).found


def test_bytes_and_work_shrink_with_it(make_problem: MakeProblem) -> None:
    algorithm = autoprune(make_problem, k=0.8)
    model, held = algorithm.initial(), dict[int, Any]()
    whole = algorithm.share(model).manifest()
    for round in (1, 2, 3):
        model = one_round(algorithm, model, round, held, CLIENTS)
    less = algorithm.share(model).manifest()
    assert less.size == less.nonzero == model.tensors.layout.size < whole.size
    macs = [
        algorithm.training(counts, steps=1, samples=1).macs for counts in (whole, model.manifest())
    ]
    assert macs[1] < macs[0]
    assert algorithm.score(model).accuracy >= 0
    local = algorithm.adopt(None, Received(algorithm.share(model), SERVER))
    assert local.tensors.layout == model.tensors.layout


def test_peers_and_networks_without_filters_are_refused(make_problem: MakeProblem) -> None:
    algorithm = autoprune(make_problem)
    state = algorithm.initial()
    with pytest.raises(ProtocolError, match="take synchronous"):
        algorithm.mix(state, (Received(algorithm.share(state), SERVER),))
    with pytest.raises(OptionError, match="lenet_300_100 has none; take a CNN"):
        built("autoprune", make_problem())
