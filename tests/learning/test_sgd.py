from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from simfl.learning.network import AutogradNetwork, loss_of
from simfl.learning.problem import ClientData, LocalUpdate, Problem
from simfl.learning.sgd import Training, epoch_batches, train, turn_batches
from simfl.pruning.masks import full
from simfl.tensors import Layout, Masks, NamedTensors
from simfl.work import Turn

LOCAL = LocalUpdate(learning_rate=0.3, batch_size=4, steps=7)


def held(module: nn.Module) -> Callable[[Layout], AutogradNetwork]:
    """One network, whatever the layout."""
    network = AutogradNetwork(module)
    return lambda _: network


class Setting:
    """A small network with data, and the same network for PyTorch's own optimiser."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.reference = self.network()
        with torch.no_grad():
            for parameter in self.reference.parameters():
                parameter.uniform_(-0.5, 0.5, generator=generator)
        self.start = NamedTensors.pack(dict(self.reference.named_parameters()))
        self.data = ClientData(
            torch.rand((18, 5), generator=generator),
            torch.randint(0, 3, (18,), generator=generator),
        )
        flat = (torch.rand(self.start.layout.size, generator=generator) < 0.6).float()
        self.masks = Masks(self.start.layout, flat)

    @staticmethod
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))

    def train(self, local: LocalUpdate, masks: Masks | None, steps: int) -> Tensor:
        batches = [slice(2 * i, 2 * i + 4) for i in range(steps)]
        start = self.start
        if masks is not None:
            start = NamedTensors(start.layout, start.flat * masks.flat)
        before = start.flat.clone()
        training = Training(tensors=start, masks=masks, data=self.data, batches=batches)
        [after] = train(held(self.network()), local, [training])
        assert torch.equal(start.flat, before)
        return after.tensors.flat

    def by_torch(
        self, masks: Masks | None, steps: int, kind: Any = torch.optim.SGD, **options: float
    ) -> Iterator[Tensor]:
        """The parameters after each step of PyTorch's optimiser."""
        named = dict(self.reference.named_parameters())
        views = None if masks is None else masks.views
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(self.start[name] * (1 if views is None else views[name]))
        optimiser = kind(named.values(), **options)
        for step in range(steps):
            optimiser.zero_grad()
            batch = slice(2 * step, 2 * step + 4)
            output = self.reference(self.data.inputs[batch])
            functional.cross_entropy(output, self.data.targets[batch]).backward()
            if views is not None:
                for name, parameter in named.items():
                    assert parameter.grad is not None
                    parameter.grad *= views[name]
            optimiser.step()
            yield NamedTensors.pack(named).flat


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"momentum": 0.9},
        {"weight_decay": 0.1},
        {"momentum": 0.5, "weight_decay": 0.05},
    ],
    ids=["plain", "momentum", "decay", "both"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_step_for_step_as_torch(how: dict[str, Any], masked: bool) -> None:
    setting = Setting()
    masks = setting.masks if masked else None
    local = replace(LOCAL, **how)
    expected = setting.by_torch(masks, 7, lr=0.3, **how)
    for steps, theirs in enumerate(expected, 1):
        ours = setting.train(local, masks, steps)
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6), steps
    if masked:
        assert not ours[setting.masks.flat == 0].any()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
def test_adam_step_for_step_as_torch(decay: float, masked: bool) -> None:
    setting = Setting()
    masks = setting.masks if masked else None
    local = replace(LOCAL, optimizer="adam", learning_rate=0.05, weight_decay=decay)
    expected = setting.by_torch(masks, 7, torch.optim.Adam, lr=0.05, weight_decay=decay)
    for steps, theirs in enumerate(expected, 1):
        ours = setting.train(local, masks, steps)
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6), steps


@pytest.mark.parametrize(
    "how", [{}, {"momentum": 0.9}, {"optimizer": "adam"}], ids=["plain", "momentum", "adam"]
)
def test_a_training_can_go_on_where_another_ended(how: dict[str, Any]) -> None:
    setting, local = Setting(), replace(LOCAL, **how)
    network = held(setting.network())
    batches = [slice(2 * i, 2 * i + 4) for i in range(7)]
    whole = Training(tensors=setting.start, masks=None, data=setting.data, batches=batches)
    [first] = train(network, local, [replace(whole, batches=batches[:3])])
    rest = replace(whole, tensors=first.tensors, batches=batches[3:], moments=first.moments)
    [second], [at_once] = train(network, local, [rest]), train(network, local, [whole])
    assert torch.equal(second.tensors.flat, at_once.tensors.flat)
    kept = [moment.clone() for moment in first.moments]
    train(network, local, [rest])
    assert all(torch.equal(a, b) for a, b in zip(kept, first.moments, strict=True))


def test_masks_that_keep_everything_change_nothing() -> None:
    setting = Setting()
    whole = setting.train(LOCAL, full(setting.start.layout), 7)
    assert torch.equal(whole, setting.train(LOCAL, None, 7))


@pytest.mark.parametrize("masked", [False, True])
def test_accumulated_gradients_are_sums(masked: bool) -> None:
    # PruneFL's public client: zeroed once, step j applies g_1 + ... + g_j
    setting = Setting()
    masks = setting.masks if masked else None
    keep = setting.masks.flat if masked else torch.ones(setting.start.layout.size)
    network, steps = setting.network(), 5
    at, summed = setting.start.flat * keep, torch.zeros(len(keep))
    for step in range(steps):
        views = setting.start.layout.views(at.clone().requires_grad_())
        batch = slice(2 * step, 2 * step + 4)
        output = torch.func.functional_call(network, views, setting.data.inputs[batch])
        found = torch.autograd.grad(
            functional.cross_entropy(output, setting.data.targets[batch]), list(views.values())
        )
        summed = summed + torch.cat([g.reshape(-1) for g in found]) * keep
        at = at - 0.3 * summed
    ours = setting.train(replace(LOCAL, gradients="accumulate"), masks, steps)
    assert torch.allclose(ours, at.detach(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours, setting.train(LOCAL, masks, steps), rtol=1e-3)


def test_one_turn_leaves_nothing_for_the_next() -> None:
    setting = Setting()
    net = held(setting.network())
    local = replace(LOCAL, gradients="accumulate", momentum=0.9)

    def turn() -> Tensor:
        batches = [slice(0, 4), slice(4, 8)]
        start = Training(tensors=setting.start, masks=None, data=setting.data, batches=batches)
        return train(net, local, [start])[0].tensors.flat

    assert torch.equal(turn(), turn())


def test_what_is_drawn_follows_the_seed_of_each_training() -> None:
    setting = Setting()
    net = held(nn.Sequential(nn.Linear(5, 6), nn.Dropout(), nn.Linear(6, 3)))
    local = LocalUpdate(learning_rate=0.1, batch_size=4, steps=2)
    several = [
        Training(
            tensors=setting.start,
            masks=None,
            data=setting.data,
            batches=[slice(0, 4)] * 2,
            seed=seed,
        )
        for seed in (1, 2, 1)
    ]
    one, two, again = (done.tensors.flat for done in train(net, local, several))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert torch.equal(train(net, local, several[1:2])[0].tensors.flat, two)


def test_no_batch_no_change() -> None:
    setting = Setting()
    after = setting.train(LOCAL, None, 0)
    assert torch.equal(after, setting.start.flat)


def test_losses() -> None:
    output = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    classes, rows = torch.tensor([0, 1]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # ln(1 + e^-3), ln(1 + e^0.5)
    assert float(loss_of("cross_entropy", output, classes)) == pytest.approx(
        (0.0485874 + 0.9740770) / 2, rel=1e-5
    )
    # ln(1 + e^-2), ln(1 + e^-1); ln(1 + e^0.5), ln 2
    assert float(loss_of("bce_with_logits", output, rows)) == pytest.approx(
        (0.1269280 + 0.3132617 + 0.9740770 + 0.6931472) / 4, rel=1e-5
    )


def indices(batches: Iterator[Tensor | slice], samples: int) -> list[list[int]]:
    return [torch.arange(samples)[batch].tolist() for batch in batches]


def test_sequential_walks_on_and_wraps() -> None:
    local = replace(LOCAL, order="sequential", steps=2)
    turns = [indices(turn_batches(local, 10, Turn(0, t), seed=1), 10) for t in (1, 2, 3)]
    assert turns == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[8, 9], [0, 1, 2, 3]],
        [[4, 5, 6, 7], [8, 9]],
    ]


def test_sequential_is_alike_for_every_client_and_seed() -> None:
    local = replace(LOCAL, order="sequential", steps=3)
    one = indices(turn_batches(local, 10, Turn(0, 5), seed=1), 10)
    assert indices(turn_batches(local, 10, Turn(9, 5), seed=2), 10) == one


@pytest.mark.parametrize("order", ["shuffled", "sequential"])
def test_a_batch_larger_than_the_data_is_all_of_it(order: Any) -> None:
    local = replace(LOCAL, order=order, batch_size=100, steps=3)
    found = indices(turn_batches(local, 7, Turn(0, 1), seed=1), 7)
    assert [sorted(batch) for batch in found] == [list(range(7))] * 3


@given(
    samples=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    epochs=st.integers(1, 3),
    order=st.sampled_from(["shuffled", "sequential"]),
    turn=st.builds(Turn, st.integers(0, 9), st.integers(1, 99)),
)
def test_each_pass_covers_the_data_once(
    samples: int, batch_size: int, epochs: int, order: Any, turn: Turn
) -> None:
    local = replace(LOCAL, batch_size=batch_size, steps=None, epochs=epochs, order=order)
    found = indices(turn_batches(local, samples, turn, seed=1), samples)
    per_epoch = local.steps_per_epoch(samples)
    assert len(found) == local.steps_on(samples) == epochs * per_epoch
    for epoch in range(epochs):
        passed = found[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert sorted(index for batch in passed for index in batch) == list(range(samples))
        assert [len(batch) for batch in passed[:-1]] == [batch_size] * (per_epoch - 1)
        assert 0 < len(passed[-1]) <= batch_size


def test_shuffling_depends_on_logical_coordinates_alone() -> None:
    def drawn(client: int = 0, index: int = 1, seed: int = 1) -> list[list[int]]:
        return indices(turn_batches(LOCAL, 20, Turn(client, index), seed), 20)

    once = drawn()
    assert drawn(client=1) != once
    assert drawn(index=2) != once
    assert drawn(seed=2) != once
    assert drawn() == once
    # the second pass is drawn anew: 5 batches a pass
    assert once[5:7] != once[:2]


def test_steps_count_even_over_a_short_pass() -> None:
    found = indices(turn_batches(LOCAL, 6, Turn(0, 1), seed=1), 6)
    assert [len(batch) for batch in found] == [4, 2, 4, 2, 4, 2, 4]


def test_whole_passes_in_order() -> None:
    assert indices(epoch_batches(5, 2, 2), 5) == [[0, 1], [2, 3], [4]] * 2


def test_a_turn_on_the_problem_is_its_batches(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem()
    start, data = problem.initial_tensors(), problem.data_of(2)

    def trained(turn: Turn) -> Tensor:
        batches = turn_batches(problem.local, len(data), turn, problem.seed)
        training = Training(tensors=start, masks=None, data=data, batches=batches)
        return train(problem.network, problem.local, [training])[0].tensors.flat

    assert torch.equal(trained(Turn(2, 1)), trained(Turn(2, 1)))
    assert not torch.equal(trained(Turn(2, 1)), trained(Turn(2, 2)))
