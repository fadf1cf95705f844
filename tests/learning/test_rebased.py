from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from simfl.learning.averaging import rebased
from simfl.learning.evaluate import root_mean_square_loss
from simfl.learning.problem import Problem
from simfl.learning.state import ModelState
from simfl.tensors import Layout, Masks, NamedTensors, Payload

LAYOUT = Layout(("w", "b"), ((2, 2), (2,)))


def payload(values: list[float], mask: list[float] | None = None) -> Payload:
    flat = torch.tensor(values)
    masks = None if mask is None else Masks(LAYOUT, torch.tensor(mask))
    return Payload(NamedTensors(LAYOUT, flat if mask is None else flat * masks.flat), masks)


NOW = payload([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
BASE = payload([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
UPDATE = payload([0.5, 1.0, 0.25, 2.0, -1.0, 1.0])


def test_the_present_model_moves_as_far_as_the_update_did() -> None:
    moved = rebased(NOW, UPDATE, BASE, 0.5)
    assert moved.tensors.flat.tolist() == [1.25, 2.0, 3.125, 4.5, 4.5, 6.0]
    assert moved.masks is None
    # made of the present model, with its full weight, it is itself
    assert torch.equal(rebased(NOW, UPDATE, NOW, 1.0).tensors.flat, UPDATE.tensors.flat)


def test_with_the_present_model_as_base_it_is_fedasyncs_mean() -> None:
    mixed = rebased(NOW, UPDATE, NOW, 0.25).tensors.flat
    assert torch.allclose(mixed, 0.75 * NOW.tensors.flat + 0.25 * UPDATE.tensors.flat)


OLD, NEW, OWN = [1.0, 1, 1, 0, 1, 1], [1.0, 1, 0, 0, 1, 1], [0.0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("now", "sent", "was", "kept"),
    [
        # the server has pruned since: under its masks
        (NEW, OLD, OLD, NEW),
        # the client has chosen: under its own
        (NEW, OWN, OLD, OWN),
        # it sends all of what it was sent a part of
        (NEW, None, OLD, None),
        (None, None, None, None),
        (None, OWN, None, OWN),
    ],
)
def test_whose_masks(
    now: list[float] | None,
    sent: list[float] | None,
    was: list[float] | None,
    kept: list[float] | None,
) -> None:
    values = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.5, 1.0, 0.25, 2.0, -1.0, 1.0], [1.0] * 6]
    parts = [payload(v, mask) for v, mask in zip(values, (now, sent, was), strict=True)]
    moved = rebased(*parts, 0.5)
    if kept is None:
        assert moved.masks is None
        return
    assert moved.masks is not None
    assert moved.masks.flat.tolist() == kept
    assert not moved.tensors.flat[torch.tensor(kept) == 0].any()


def test_what_only_the_update_has_stays_as_it_is() -> None:
    wide = Layout(("w", "b", "importance"), ((2, 2), (2,), (2,)))
    more = Payload(NamedTensors(wide, torch.tensor([*UPDATE.tensors.flat.tolist(), 7.0, 8.0])))
    moved = rebased(NOW, more, BASE, 0.5)
    assert moved.tensors["importance"].tolist() == [7.0, 8.0]
    assert moved.tensors["w"].flatten().tolist() == [1.25, 2.0, 3.125, 4.5]


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits"])
def test_the_root_of_the_mean_square_of_losses(
    make_problem: Callable[..., Problem], loss: str
) -> None:
    problem = make_problem(loss=loss)
    state = ModelState(tensors=problem.initial_tensors())
    data, net = problem.data_of(2), problem.network(problem.layout)
    net.load([state.tensors.flat])
    logits = net.logits(data.inputs)
    each = (
        functional.cross_entropy(logits, data.targets, reduction="none")
        if loss == "cross_entropy"
        else functional.binary_cross_entropy_with_logits(
            logits, data.targets, reduction="none"
        ).mean(1)
    )
    found = root_mean_square_loss(problem, state, 2)
    assert found == pytest.approx(float(each.square().mean().sqrt()), rel=1e-6)
