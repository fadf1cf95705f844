from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.options import Options
from simfl.partitions.base import Partition, Share
from simfl.partitions.transforms import TRANSFORMS
from simfl.registry import PARTITIONS

# for every partition: what it needs, then its variants
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "by_writer": [{}, {"writers": "shared_out"}, {"least": 20}],
    "dirichlet": [{"alpha": 0.5, "least": 1}, {"alpha": 0.05, "least": 1}, {"alpha": 100.0}],
    "iid": [{}, {"parts": 12}, {"train_share": 0.5}],
    "pathological": [{}, {"classes": 1}, {"classes": 3}],
    "transformed_copies": [{}, {"of": "all"}, {"server_share": 0.2}],
}
# these leave samples out, give some to several clients, or draw nothing, as they say themselves
LEAVE_OUT = ("by_writer {'least': 20}", "iid {'parts': 12}", "iid {'train_share': 0.5}")
LEAVE_OUT += ("by_writer {}", "transformed_copies {'server_share': 0.2}")
OVERLAP = ("transformed_copies {'of': 'all'}",)
UNSEEDED = ("by_writer",)


@dataclass(frozen=True)
class Held:
    """What a partition looks at: classes and writers take turns."""

    name: str = "held"
    classes: int = 6
    train_samples: int = 240
    sample_shape: tuple[int, int, int] = (1, 4, 4)
    writers: int = 9

    @property
    def train_labels(self) -> Tensor:
        return torch.arange(self.train_samples) % self.classes

    @property
    def train_owners(self) -> Tensor | None:
        # writer 0 wrote the fewest
        owners = torch.arange(self.train_samples) * self.writers // self.train_samples
        return owners.index_fill(0, torch.arange(20), 1) if self.writers else None

    @property
    def owner_names(self) -> tuple[str, ...]:
        return tuple(f"w{i}" for i in range(self.writers))


def variants() -> Iterator[Any]:
    for name, several in OPTIONS.items():
        for options in several:
            partition = Partition(name=name, options=PARTITIONS.get(name).options(**options))
            yield pytest.param(partition, id=partition.key)


EVERY = pytest.mark.parametrize("partition", list(variants()))


def deal(name: str, data: Held, clients: int, *, seed: int = 1, **options: Any) -> list[Share]:
    plugin = PARTITIONS.get(name)
    return list(Partition(name=name, options=plugin.options(**options)).deal(data, clients, seed))


def indices(shares: Any) -> list[list[int]]:
    return [share.samples.tolist() for share in shares]


def classes_of(share: Share, data: Held) -> set[int]:
    return set(data.train_labels[share.samples].tolist())


def test_every_partition_is_tested() -> None:
    assert list(OPTIONS) == PARTITIONS.names()


@EVERY
@pytest.mark.parametrize("clients", [1, 2, 6])
def test_shares_are_indices_that_cover_without_overlap(partition: Partition, clients: int) -> None:
    data = Held()
    shares = partition.deal(data, clients, seed=1)
    assert len(shares) == clients
    for share in shares:
        assert share.samples.dtype == torch.int64
        assert len(share) == len(set(share.samples.tolist())) > 0
        assert share.transform in ("", *TRANSFORMS)
    together = torch.cat([share.samples for share in shares]).tolist()
    assert set(together) <= set(range(data.train_samples))
    if partition.key not in OVERLAP:
        assert len(together) == len(set(together))
    if partition.key not in LEAVE_OUT:
        assert set(together) == set(range(data.train_samples))


@EVERY
def test_the_seed_draws(partition: Partition) -> None:
    one, again, other = (indices(partition.deal(Held(), 5, seed)) for seed in (1, 1, 2))
    assert one == again
    assert (one == other) == (partition.name in UNSEEDED)


@EVERY
def test_a_key_is_of_the_options(partition: Partition) -> None:
    plain = {"dirichlet": {"alpha": 1.0}}.get(partition.name, {})
    other = Partition(name=partition.name, options=type(partition.options)(**plain))
    assert (partition.key == other.key) == (partition.options == other.options)
    assert isinstance(partition.options, Options)


@EVERY
def test_the_draws_do_not_touch_the_global_stream(partition: Partition) -> None:
    before = torch.get_rng_state()
    partition.deal(Held(), 5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


# iid -----------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.data(), st.integers(0, 5))
def test_iid_parts_differ_by_one_sample(samples: int, data: st.DataObject, seed: int) -> None:
    clients = data.draw(st.integers(1, samples))
    shares = deal("iid", Held(train_samples=samples), clients, seed=seed)
    assert sorted(torch.cat([share.samples for share in shares]).tolist()) == list(range(samples))
    sizes = [len(share) for share in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_iid_draws_what_it_always_drew() -> None:
    draw = torch.randperm(240, generator=torch.Generator().manual_seed(seed_of(1, "partition")))
    assert torch.equal(torch.cat([s.samples for s in deal("iid", Held(), 7)]), draw)


def test_iid_of_more_parts_than_clients() -> None:
    whole = indices(deal("iid", Held(), 48))
    assert indices(deal("iid", Held(), 5, parts=48)) == whole[:5]
    shares = indices(deal("iid", Held(), 5, parts=48, train_share=0.7))
    assert shares == [part[:3] for part in whole[:5]]
    # 0.29 x 100 is a little less than 29 in floating point
    assert len(deal("iid", Held(train_samples=100), 1, train_share=0.29)[0]) == 29


# pathological --------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_client_has_few_classes(classes: int) -> None:
    # 6 clients: each class of 36 samples is cut evenly
    data = Held(train_samples=216)
    shares = deal("pathological", data, 6, classes=classes)
    assert all(len(classes_of(share, data)) <= classes for share in shares)
    assert {len(share) for share in shares} == {36}


def test_shards_are_dealt_and_not_left_in_order() -> None:
    data = Held()
    found = [classes_of(share, data) for share in deal("pathological", data, 12)]
    assert len({frozenset(it) for it in found}) > 3
    assert any(max(it) - min(it) > 1 for it in found)


# dirichlet -----------------------------------------------------------------------------------


def unevenness(alpha: float) -> float:
    """Mean over the clients of the largest class's share."""
    data = Held(train_samples=6000)
    shares = deal("dirichlet", data, 10, alpha=alpha, least=1)
    tops = [data.train_labels[s.samples].bincount().max() / len(s) for s in shares]
    return float(torch.stack(tops).mean())


def test_a_small_alpha_is_uneven_and_a_large_one_is_not() -> None:
    small, middle, large = map(unevenness, (0.05, 1.0, 1000.0))
    assert small > 0.6 > middle > 0.25 > large
    # each class is a sixth of every client's
    assert large == pytest.approx(1 / 6, abs=0.02)


def test_the_draws_have_the_moments_of_dirichlets() -> None:
    # one class: client 0's part of it is Beta(a, 3a), with mean 1/4 and variance 3/16 / (4a + 1)
    data, alpha = Held(classes=1, train_samples=10_000), 0.5
    parts = torch.tensor(
        [
            len(deal("dirichlet", data, 4, seed=seed, alpha=alpha, least=1)[0]) / 10_000
            for seed in range(600)
        ]
    )
    assert float(parts.mean()) == pytest.approx(0.25, abs=0.04)
    assert float(parts.var()) == pytest.approx(3 / 16 / (4 * alpha + 1), rel=0.2)


def test_no_client_has_less_than_the_least() -> None:
    sizes = [len(s) for s in deal("dirichlet", Held(), 5, alpha=0.3, least=20)]
    assert min(sizes) >= 20
    assert sum(sizes) == 240


# by_writer -----------------------------------------------------------------------------------


def test_one_writer_each_by_name() -> None:
    data = Held()
    shares = deal("by_writer", data, 4, least=20)
    assert data.train_owners is not None
    # writer 0 wrote too little
    assert [share.writer for share in shares] == ["w1", "w2", "w3", "w4"]
    owners = [set(data.train_owners[share.samples].tolist()) for share in shares]
    assert owners == [{1}, {2}, {3}, {4}]


def test_all_writers_in_consecutive_groups() -> None:
    data = Held()
    shares = deal("by_writer", data, 4, writers="shared_out")
    assert data.train_owners is not None
    owners = [sorted(set(data.train_owners[share.samples].tolist())) for share in shares]
    assert owners == [[0, 1, 2], [3, 4], [5, 6], [7, 8]]
    assert [s.writer for s in shares][:2] == ["w0 to w2 (3)", "w3 to w4 (2)"]


# transformed_copies --------------------------------------------------------------------------


def test_each_client_has_a_transform_of_its_own_and_then_from_the_start() -> None:
    names = [share.transform for share in deal("transformed_copies", Held(), 14)]
    assert names == [*TRANSFORMS, "identity", "hflip"]


def test_parts_are_those_of_iid() -> None:
    assert indices(deal("transformed_copies", Held(), 5)) == indices(deal("iid", Held(), 5))


@pytest.mark.parametrize("of", ["parts", "all"])
def test_a_server_keeps_its_share_to_itself(of: str) -> None:
    shares = indices(deal("transformed_copies", Held(), 4, of=of, server_share=0.25))
    held = {index for share in shares for index in share}
    assert len(held) == 180
    assert [len(share) for share in shares] == [180 if of == "all" else 45] * 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_keeps_shape_and_range(name: str, channels: int) -> None:
    images = torch.rand(5, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    found = TRANSFORMS[name](images)
    assert torch.equal(images, before)
    assert (found.shape, found.dtype) == (images.shape, torch.float32)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, images) == (name == "identity")
    # each image by itself
    assert torch.equal(TRANSFORMS[name](images[2:3]), found[2:3])


def test_transforms_are_distinct() -> None:
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    made = [transform(images) for transform in TRANSFORMS.values()]
    assert not any(torch.equal(one, other) for one, other in combinations(made, 2))


def test_what_some_transforms_do() -> None:
    image = torch.tensor([[0.0, 0.2], [0.4, 0.8]])[None, None]
    for name, due in {
        "hflip": [[0.2, 0.0], [0.8, 0.4]],
        "vflip": [[0.4, 0.8], [0.0, 0.2]],
        "rot90": [[0.2, 0.8], [0.0, 0.4]],
        "invert": [[1.0, 0.8], [0.6, 0.2]],
        "darken": [[0.0, 0.1], [0.2, 0.4]],
        "brighten": [[0.0, 0.3], [0.6, 1.0]],
        "contrast": [[0.0, 0.05], [0.35, 0.95]],
    }.items():
        assert torch.allclose(TRANSFORMS[name](image)[0, 0], torch.tensor(due)), name
    moved = TRANSFORMS["translate"](torch.ones(1, 1, 8, 16))[0, 0]
    assert moved[1:, 2:].min() == 1
    assert moved.sum() == 7 * 14


# mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "data", "message"),
    [
        ("iid", {"parts": 3}, Held(), "parts: 3 parts for 4 clients; give 4 or more"),
        ("iid", {"parts": 241}, Held(), "parts: 241 parts of 240 samples of held; give fewer"),
        (
            "iid",
            {"train_share": 0.01},
            Held(),
            "train_share: leaves a client none of its 60 samples; give more",
        ),
        (
            "pathological",
            {"classes": 61},
            Held(),
            "classes: 4 clients x 61 are 244 shards of 240 samples of held; give fewer classes or "
            "fewer clients",
        ),
        (
            "dirichlet",
            {"alpha": 0.01, "least": 60},
            Held(),
            "least: none of 1000 draws with alpha 0.01 gave each of 4 clients 60 of 240 samples of "
            "held; give a smaller least, a larger alpha or fewer clients",
        ),
        (
            "by_writer",
            {},
            Held(writers=0),
            "name: held does not say who wrote what; use another partition",
        ),
        (
            "by_writer",
            {"least": 30},
            Held(),
            "writers: 4 clients for 1 writers of held with at least 30 training samples; give "
            "fewer clients or a smaller least",
        ),
        (
            "transformed_copies",
            {"server_share": 0.99},
            Held(),
            "server_share: leaves 3 samples for 4 clients; give a smaller one",
        ),
        (
            "transformed_copies",
            {},
            Held(sample_shape=(1, 4, 5)),
            "name: images of held are 4 x 5, and some are to be turned; use square ones, or "
            "another partition",
        ),
    ],
)
def test_what_cannot_be_dealt(name: str, options: dict[str, Any], data: Held, message: str) -> None:
    with pytest.raises(OptionError) as told:
        deal(name, data, 4, **options)
    assert str(told.value) == message
