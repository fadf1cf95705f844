from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from simfl.learning.chain import ChainNetwork, is_chain
from simfl.learning.network import AutogradNetwork, Loss
from simfl.registry import MODELS

CLASSES, BATCH = 4, 5


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 7), nn.ReLU(), nn.Linear(7, CLASSES))


def padded() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 5, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, CLASSES),
    )  # fmt: skip


def odd() -> nn.Sequential:
    # 6 x 6 -> 5 x 5, of which pooling leaves the last row and column out
    return nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=2),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, CLASSES),
    )  # fmt: skip


CHAINS = pytest.mark.parametrize("make", [perceptron, padded, odd], ids=lambda make: make.__name__)
LOSSES = pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits"])


def sample(loss: Loss, models: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(models)
    inputs = torch.rand((models, BATCH, 1, 6, 6), generator=generator)
    # as in handwriting: equal pixels, where pooling has ties
    inputs[:, :, :, :3] = 0
    classes = torch.randint(0, CLASSES, (models, BATCH), generator=generator)
    rows = functional.one_hot(classes, CLASSES).float()
    return inputs, classes if loss == "cross_entropy" else rows


def weights(make: Callable[[], nn.Sequential], models: int) -> list[Tensor]:
    size = sum(p.numel() for p in make().parameters())
    generator = torch.Generator().manual_seed(8)
    return list(torch.rand((models, size), generator=generator) - 0.4)


@CHAINS
@LOSSES
def test_a_chain_is_what_autograd_finds(make: Callable[[], nn.Sequential], loss: Loss) -> None:
    flats, (inputs, targets) = weights(make, 1), sample(loss)
    ours, theirs = ChainNetwork(make()), AutogradNetwork(make())
    for net in (ours, theirs):
        net.load(flats)
    assert torch.allclose(ours.logits(inputs[0]), theirs.logits(inputs[0]), rtol=1e-5, atol=1e-6)
    for add in (False, True, False):
        found = ours.gradient(inputs, targets, loss, add=add)
        expected = theirs.gradient(inputs, targets, loss, add=add)
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert expected.abs().max() > 0.01
    for _ in range(3):
        ours.descend(inputs, targets, loss, 0.5)
        theirs.descend(inputs, targets, loss, 0.5)
    assert torch.allclose(ours.packed, theirs.packed, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours.packed[0], flats[0], atol=1e-3)


@CHAINS
@LOSSES
def test_bits_do_not_depend_on_who_is_beside(make: Callable[[], nn.Sequential], loss: Loss) -> None:
    flats, (inputs, targets) = weights(make, 7), sample(loss, 7)
    alone, together = ChainNetwork(make()), ChainNetwork(make())
    together.load(flats)
    for _ in range(3):
        together.descend(inputs, targets, loss, 0.5)
    for i, flat in enumerate(flats):
        alone.load([flat])
        for _ in range(3):
            alone.descend(inputs[i : i + 1], targets[i : i + 1], loss, 0.5)
        assert torch.equal(alone.packed[0], together.packed[i])


@LOSSES
@pytest.mark.parametrize("kind", ["perceptron", "convolutions"])
def test_bits_do_not_depend_on_who_is_beside_at_full_size(kind: str, loss: Loss) -> None:
    def make() -> nn.Sequential:
        if kind == "perceptron":
            layers = [nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10)]
        else:
            layers = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                      nn.Linear(1176, 120), nn.ReLU(), nn.Linear(120, 10)]  # fmt: skip
        return nn.Sequential(*layers)

    generator = torch.Generator().manual_seed(2)
    inputs = torch.rand((3, 20, 1, 28, 28), generator=generator)
    classes = torch.randint(0, 10, (3, 20), generator=generator)
    targets = classes if loss == "cross_entropy" else functional.one_hot(classes, 10).float()
    flats = [flat * 0.1 for flat in weights(make, 3)]
    alone, together = ChainNetwork(make()), ChainNetwork(make())
    together.load(flats)
    together.descend(inputs, targets, loss, 0.5)
    for i, flat in enumerate(flats):
        alone.load([flat])
        alone.descend(inputs[i : i + 1], targets[i : i + 1], loss, 0.5)
        assert torch.equal(alone.packed[0], together.packed[i])


@CHAINS
def test_batches_of_another_size_may_follow(make: Callable[[], nn.Sequential]) -> None:
    flats, (inputs, targets) = weights(make, 1), sample("cross_entropy")
    used, fresh = ChainNetwork(make()), ChainNetwork(make())
    used.load(flats)
    used.descend(inputs, targets, "cross_entropy", 0.5)
    used.load(flats)
    fresh.load(flats)
    for net in (used, fresh):
        net.descend(inputs[:, :2], targets[:, :2], "cross_entropy", 0.5)
        net.descend(inputs, targets, "cross_entropy", 0.5)
    assert torch.equal(used.packed, fresh.packed)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(3, 4),
        nn.Sequential(),
        nn.Sequential(nn.Linear(3, 4)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)),
        nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.Flatten(), nn.Linear(8, 2)),
    ],
)
def test_what_is_no_chain(module: nn.Module) -> None:
    assert not is_chain(module)


@CHAINS
def test_what_is_a_chain(make: Callable[[], nn.Sequential]) -> None:
    assert is_chain(make())


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("lenet5", (1, 28, 28), 10), ("simple_cnn", (1, 29, 31), 7), ("lenet_300_100", (1, 5, 7), 3)],
)
@pytest.mark.parametrize("batch", [1, 2, 3, 5, 20])
def test_where_a_model_lies_in_memory_decides_no_bit(
    name: str, shape: tuple[int, int, int], classes: int, batch: int
) -> None:
    plugin, generator = MODELS.get(name), torch.Generator().manual_seed(0)
    architecture = plugin.build(plugin.options(), classes=classes, sample_shape=shape)
    module = architecture.build()
    assert is_chain(module)
    several, one = ChainNetwork(module), ChainNetwork(module)
    flats = list(torch.randn(5, several.packed.shape[1], generator=generator) * 0.05)
    images = torch.rand(5, batch, *shape, generator=generator)
    targets = torch.randint(0, classes, (5, batch), generator=generator)
    several.load(flats)
    several.descend(images.clone(), targets, "cross_entropy", 0.1)
    # alone, from memory that begins at any number
    askew = torch.cat([torch.zeros(3), images.reshape(-1)])[3:].view(images.shape)
    for i, flat in enumerate(flats):
        one.load([flat])
        one.descend(askew[i : i + 1], targets[i : i + 1], "cross_entropy", 0.1)
        assert torch.equal(one.packed[0], several.packed[i])
