from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from simfl.errors import OptionError
from simfl.models.base import chain, initialise
from simfl.models.shapes import reshape, shaped
from simfl.pruning.channels import Channels, Segment, channels_of
from simfl.pruning.surgery import cut
from simfl.registry import MODELS
from simfl.tensors import NamedTensors

SHAPE = (2, 12, 12)


class Residual(nn.Module):
    """A stem, a block that adds its input, and one that adds a projection of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.one = nn.Conv2d(6, 5, 3, padding=1)
        self.two = nn.Conv2d(5, 6, 3, padding=1)
        self.three = nn.Conv2d(6, 7, 3, stride=2, padding=1)
        self.beside = nn.Conv2d(6, 7, 1, stride=2)
        self.fc = nn.Linear(7 * 36, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.two(torch.relu(self.one(x))))
        x = torch.relu(self.three(x) + self.beside(x))
        out: Tensor = self.fc(torch.flatten(x, 1))
        return out


class Inception(nn.Module):
    """Two branches side by side, with the input between them, and what reads them all."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 1)
        self.two = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(5))
        self.after = nn.Conv2d(4 + 2 + 5, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.one(x), x, self.two(x)], dim=1)
        out: Tensor = self.fc(self.pool(torch.relu(self.after(x))).view(x.size(0), -1))
        return out


def plain() -> nn.Module:
    return chain(
        conv1=nn.Conv2d(2, 6, 3),
        pool=nn.MaxPool2d(2),
        relu1=nn.LeakyReLU(0.1),
        conv2=nn.Conv2d(6, 5, 3),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(45, 8),
        relu3=nn.ReLU(),
        fc2=nn.Linear(8, 3),
    )


BUILDERS = {"plain": plain, "residual": Residual, "inception": Inception}


def drawn(module: nn.Module, seed: int) -> nn.Module:
    """All of it random, running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 1.0, generator=generator)
        for name, parameter in module.named_parameters():
            if "norm" not in name:
                parameter.sub_(0.6)
    return module.eval()


def tensors_of(module: nn.Module) -> NamedTensors:
    state = module.state_dict()
    return NamedTensors.pack({n: t for n, t in state.items() if t.is_floating_point()})


def emptied(tensors: NamedTensors, channels: Channels, kept: dict[int, Tensor]) -> NamedTensors:
    """With zeros in all that makes the channels that go."""
    shapes = tensors.layout.shape_of
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, tensor in found.items():
        start = 0
        for segment in channels.axes.get(name, {}).get(0, ()):
            width = channels.width(segment.group, shapes)
            gone = set(range(width)) - set(kept.get(segment.group, torch.arange(width)).tolist())
            for channel in gone:
                # a variance of zero would be none
                tensor[start + channel] = 1.0 if name.endswith("running_var") else 0.0
            start += width
    return NamedTensors.pack(found)


def output(build: Any, tensors: NamedTensors, inputs: Tensor) -> Tensor:
    module = build()
    reshape(module, tensors.layout.shape_of)
    module.load_state_dict(dict(tensors), strict=False)
    with torch.no_grad():
        found: Tensor = module.eval()(inputs)
    return found


@pytest.mark.parametrize("name", BUILDERS)
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_without_channels_that_are_zero_the_function_is_the_same(
    name: str, data: st.DataObject, seed: int
) -> None:
    build = BUILDERS[name]
    module = drawn(build(), seed)
    channels = channels_of(build(), SHAPE)
    kept = {}
    for number, group in channels.groups.items():
        if not group.whole and data.draw(st.booleans()):
            stay = st.sets(st.integers(0, group.size - 1), min_size=1)
            kept[number] = torch.tensor(sorted(data.draw(stay)))
    whole = emptied(tensors_of(module), channels, kept)
    smaller = cut(whole, channels, kept)
    inputs = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(seed + 1))
    before, after = output(build, whole, inputs), output(build, smaller, inputs)
    assert before.shape == after.shape
    assert float((before - after).abs().max()) <= 1e-5
    left = sum(len(k) for k in kept.values())
    assert (smaller.layout == whole.layout) == (
        left == sum(channels.groups[number].size for number in kept)
    )
    for number, stay in kept.items():
        assert channels.width(number, smaller.layout.shape_of) == len(stay)


def test_cut_twice_is_cut_once() -> None:
    channels = channels_of(Residual(), SHAPE)
    whole = tensors_of(drawn(Residual(), 5))
    stem = next(n for n, g in channels.groups.items() if "stem.weight" in g.makers)
    twice = cut(
        cut(whole, channels, {stem: torch.tensor([0, 2, 3, 5])}),
        channels,
        {stem: torch.tensor([1, 3])},
    )
    once = cut(whole, channels, {stem: torch.tensor([2, 5])})
    assert twice.layout == once.layout
    assert torch.equal(twice.flat, once.flat)


def test_additions_make_channels_one_and_ends_stay() -> None:
    groups = {g.makers: g for g in channels_of(Residual(), SHAPE).groups.values()}
    assert not groups["stem.weight", "two.weight"].whole
    assert groups["one.weight",].size == 5
    assert not groups["three.weight", "beside.weight"].whole
    assert groups["fc.weight",].whole
    assert groups[()].whole  # the images' own


def test_flattened_channels_are_read_position_by_position() -> None:
    channels = channels_of(plain(), SHAPE)
    [conv2] = channels.axes["conv2.weight"][0]
    assert channels.axes["fc1.weight"][1] == (Segment(conv2.group, 9),)
    whole = tensors_of(drawn(plain(), 1))
    smaller = cut(whole, channels, {conv2.group: torch.tensor([1, 4])})
    columns = [*range(9, 18), *range(36, 45)]
    assert torch.equal(smaller["fc1.weight"], whole["fc1.weight"][:, columns])


def test_streams_that_a_model_names_are_one() -> None:
    class Named(Inception):
        streams = (("one", "after"),)

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(2, 6, 1)
            self.after = nn.Conv2d(6 + 2 + 5, 6, 3)

    makers = [g.makers for g in channels_of(Named(), SHAPE).groups.values()]
    assert ("one.weight", "after.weight") in makers


def test_what_cannot_be_followed_stays_whole() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(2, 4, 3)
            self.two = nn.Conv2d(4, 4, 3)
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x).roll(1, 1)
            out: Tensor = self.fc(self.two(x).mean((2, 3)))
            return out

    groups = channels_of(Odd(), SHAPE).groups.values()
    assert all(group.whole for group in groups)


def test_a_network_that_looks_at_its_data_is_refused() -> None:
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(288, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc(x.flatten(1)) if x.sum() > 0 else x
            return out

    with pytest.raises(OptionError, match="channels of Looks cannot be followed"):
        channels_of(Looks(), SHAPE)


@pytest.mark.parametrize(
    ("name", "sample_shape"),
    [
        ("lenet5", (1, 28, 28)),
        ("autoprune_conv", (1, 28, 28)),
        ("autoprune_resnet", (3, 84, 84)),
        ("autoprune_inception", (1, 28, 28)),
        ("alexnet_cifar", (3, 32, 32)),
        ("resnet18", (3, 32, 32)),
    ],
)
def test_a_quarter_of_every_group_goes_from_networks_of_papers(
    name: str, sample_shape: tuple[int, int, int]
) -> None:
    model = MODELS.get(name)
    architecture = model.build(model.options(), classes=10, sample_shape=sample_shape)
    module, stream = architecture.build(), torch.Generator().manual_seed(3)
    initialise(module, architecture.init, stream)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.uniform_(-0.1, 0.1, generator=stream)
                layer.running_var.uniform_(0.5, 2.0, generator=stream)
                layer.bias.uniform_(-0.1, 0.1, generator=stream)
    channels = channels_of(architecture.build(), sample_shape)
    kept = {
        number: torch.randperm(group.size, generator=stream)[: -(-3 * group.size // 4)].sort()[0]
        for number, group in channels.groups.items()
        if not group.whole
    }
    assert len(kept) >= 3 or name == "autoprune_conv"
    whole = emptied(tensors_of(module), channels, kept)
    smaller = cut(whole, channels, kept)
    assert smaller.layout.size < 0.75 * whole.layout.size
    inputs = torch.rand((2, *sample_shape), generator=stream)
    before, after = (output(architecture.build, t, inputs) for t in (whole, smaller))
    largest = max(1.0, float(before.abs().max()))
    assert float((before - after).abs().max()) <= 1e-5 * largest
    assert shaped(architecture, smaller.layout).operations != architecture.operations
