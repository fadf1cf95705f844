"""FLASH on the toy data; what all algorithms have in common is in the contract suite."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from rounds import SERVER, MakeProblem, built

from simfl.errors import OptionError, ProtocolError
from simfl.learning.state import Received
from simfl.pruning.moves import apportioned, moved
from simfl.work import Turn

CLIENTS = (0, 1, 2, 3)
WEIGHTS = ("fc1.weight", "fc2.weight", "fc3.weight")
TOTAL = 300 * 16 + 100 * 300 + 3 * 100


def flash(make_problem: MakeProblem, variant: str = "spdst", **options: Any) -> Any:
    settings = {"density": 0.2, "sensitivity_epochs": 2} | options
    return built("flash", make_problem(), variant=variant, **settings)


def one_round(algorithm: Any, model: Any, round: int) -> tuple[Any, list[Any]]:
    """The server's model after a round, and what it was sent."""
    who, received = algorithm.problem.participants, []
    for client in CLIENTS:
        down = Received(algorithm.share(model, who[client]), SERVER)
        state = algorithm.train(algorithm.adopt(None, down), Turn(client, round))
        received.append(Received(algorithm.share(state), who[client]))
    return algorithm.aggregate(model, tuple(received)), received


def kept(masks: Any) -> list[int]:
    return [int(masks.views[name].sum()) for name in WEIGHTS]


def test_masks_have_the_density_all_layers_together(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem)
    model = algorithm.initial()
    # before anything is known, one density in all layers
    assert kept(model.masks) == [960, 6000, 60]
    after, _ = one_round(algorithm, model, 1)
    assert sum(kept(after.masks)) == round(0.2 * TOTAL)
    assert not after.tensors.flat[after.masks.flat == 0].any()


def test_after_the_first_round_only_densities_travel(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem)
    after, received = one_round(algorithm, algorithm.initial(), 1)
    sent = torch.stack([r.payload.tensors["densities"] for r in received])
    assert sent.shape == (4, 3)
    # moves keep the number of entries of each client's mask
    sizes = torch.tensor([4800.0, 30_000.0, 300.0])
    assert torch.allclose((sent * sizes).sum(1), torch.tensor(7020.0), atol=0.01)
    assert [r.payload.manifest().size for r in received] == [3] * 4
    # the server's layers are as dense as the clients' were in the mean, to an entry
    mean = (sent.mean(0) * sizes).tolist()
    assert all(abs(a - b) <= 1 for a, b in zip(kept(after.masks), mean, strict=True))


def test_the_model_begins_anew_with_the_second_stage(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem)
    model = algorithm.initial()
    after, _ = one_round(algorithm, model, 1)
    both = (model.masks.flat * after.masks.flat) == 1
    assert not torch.equal(model.tensors.flat[both], after.tensors.flat[both])
    again, _ = one_round(algorithm, model, 1)
    assert torch.equal(again.tensors.flat, after.tensors.flat)


def test_with_spdst_the_mask_stays_and_travels_once(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem)
    who = algorithm.problem.participants
    model, _ = one_round(algorithm, algorithm.initial(), 1)
    assert not algorithm.share(model, who[0]).known
    later, received = one_round(algorithm, model, 2)
    assert torch.equal(later.masks.flat, model.masks.flat)
    assert all(r.payload.known for r in received)
    assert all(algorithm.share(later, client).known for client in who)


def test_with_jmwst_masks_move_and_keep_their_number(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem, "jmwst", update_every=2)
    model, _ = one_round(algorithm, algorithm.initial(), 1)
    moving, received = one_round(algorithm, model, 2)
    assert not any(torch.equal(r.payload.masks.flat, model.masks.flat) for r in received)
    assert {sum(kept(r.payload.masks)) for r in received} == {round(0.2 * TOTAL)}
    assert sum(kept(moving.masks)) == round(0.2 * TOTAL)
    assert not torch.equal(moving.masks.flat, model.masks.flat)
    for name in WEIGHTS:
        # as many as the clients have in the mean, to an entry; and of their mean the largest
        counts = [float(r.payload.masks.views[name].sum()) for r in received]
        mask = moving.masks.views[name]
        assert abs(int(mask.sum()) - sum(counts) / 4) <= 1
        mean = torch.stack([r.payload.tensors[name] for r in received]).mean(0)
        # a layer may be full
        dropped = mean[mask == 0].abs().tolist()
        assert max(dropped, default=0.0) <= float(mean[mask == 1].abs().min())
        assert torch.allclose(moving.tensors[name], mean * mask, atol=1e-7)
    still, _ = one_round(algorithm, moving, 3)
    assert torch.equal(still.masks.flat, moving.masks.flat)


def test_the_mean_is_over_all_or_over_those_who_have_a_weight(make_problem: MakeProblem) -> None:
    means = {}
    for mean in ("all", "holders"):
        algorithm = flash(make_problem, "jmwst", mean=mean, update_every=5)
        model, _ = one_round(algorithm, algorithm.initial(), 1)
        _, received = one_round(algorithm, model, 2)
        # in a round in which no mask is due, so that the mean is seen as it is
        still = algorithm.aggregate(replace(model, rounds=2), received)
        means[mean] = still.tensors.flat
    sums = torch.stack([r.payload.tensors.flat for r in received]).sum(0)
    having = torch.stack([r.payload.masks.flat for r in received]).sum(0)
    assert {0.0, 1.0, 4.0} < set(having.tolist())
    assert torch.allclose(means["all"], sums / 4, atol=1e-7)
    assert torch.allclose(means["holders"], sums / having.clamp(min=1), atol=1e-7)


def test_masks_move_between_epochs_and_in_the_middle_of_one(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem, "jmwst", update_every=2)
    # 15 samples in batches of 4: epochs of 4 steps
    assert algorithm.ends(8, Turn(0, 1)) == [4, 8]
    assert algorithm.ends(3, Turn(0, 2)) == [2, 3]
    assert algorithm.ends(9, Turn(0, 4)) == [4, 8, 9]
    assert algorithm.ends(3, Turn(0, 3)) == [3]
    assert flash(make_problem).ends(3, Turn(0, 2)) == [3]


def test_parts_of_a_turn_follow_each_other(make_problem: MakeProblem) -> None:
    """Without moves a turn in parts is the turn in one: batches, rate and momentum go on."""
    problem = make_problem(momentum=0.9, steps=None, epochs=3)
    parts, whole = (
        built("flash", problem, variant=variant, density=0.2, prune_rate=0)
        for variant in ("jmwst", "spdst")
    )
    state = parts.adopt(None, Received(parts.share(parts.initial()), SERVER))
    turn = Turn(1, 2)
    assert len(parts.ends(12, turn)) == 3
    assert torch.equal(parts.train(state, turn).tensors.flat, whole.train(state, turn).tensors.flat)


def test_the_first_turn_is_charged_with_its_own_epochs(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem, sensitivity_epochs=5)
    manifest = algorithm.initial().manifest()
    first, second = (
        algorithm.work["train"](algorithm, manifest, Turn(0, index)) for index in (1, 2)
    )
    # 15 samples in batches of 4
    assert (first.steps, first.samples) == (20, 75)
    assert (second.steps, second.samples) == (3, 12)
    assert first.moved_bytes == 4 * 16 * manifest.size


def test_a_move_drops_the_smallest_and_grows_as_many(make_problem: MakeProblem) -> None:
    stream = torch.Generator().manual_seed(4)
    masks = {"a": (torch.rand((40, 10), generator=stream) < 0.3).float()}
    masks["b"] = (torch.rand((20, 10), generator=stream) < 0.3).float()
    weights = {n: torch.randn(m.shape, generator=stream) * m for n, m in masks.items()}
    weights["b"] *= 3
    after = moved(weights, masks, 0.25, torch.Generator().manual_seed(5))
    assert sum(int(m.sum()) for m in after.values()) == sum(int(m.sum()) for m in masks.values())
    for name, mask in masks.items():
        before = int(mask.sum())
        left = (after[name] * mask).sum()
        assert before - int(before * 0.25) <= left
        assert set(after[name].unique().tolist()) == {0.0, 1.0}
    # the layer of larger weights gains
    assert after["b"].mean() > masks["b"].mean()


def test_whole_numbers_in_proportion() -> None:
    assert apportioned(7, {"a": 1.0, "b": 1.0}, {"a": 9, "b": 9}) in (
        {"a": 4, "b": 3},
        {"a": 3, "b": 4},
    )
    assert apportioned(99, {"a": 1.0, "b": 5.0}, {"a": 9, "b": 9}) == {"a": 9, "b": 9}
    assert apportioned(4, {"a": 0.0, "b": 0.0}, {"a": 9, "b": 9}) == {"a": 2, "b": 2}


def test_what_cannot_be_is_refused(make_problem: MakeProblem) -> None:
    algorithm = flash(make_problem)
    state = algorithm.initial()
    with pytest.raises(ProtocolError, match="take the protocol synchronous"):
        algorithm.mix(state, (Received(algorithm.share(state), SERVER),))
    with pytest.raises(OptionError, match="has no convolutions; give all"):
        flash(make_problem, layers="conv")
