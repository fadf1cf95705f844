from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.partitions.base import Partition, Share
from simfl.registry import PARTITIONS


@dataclass(frozen=True)
class Held:
    """What a partition looks at."""

    name: str = "held"
    classes: int = 3
    train_samples: int = 60

    @property
    def train_labels(self) -> Tensor:
        return torch.arange(self.train_samples) % self.classes


def deal(
    name: str, data: Held, clients: int, *, seed: int = 1, **options: Any
) -> tuple[Share, ...]:
    plugin = PARTITIONS.get(name)
    return Partition(name=name, options=plugin.options(**options)).deal(data, clients, seed)


def indices(shares: tuple[Share, ...]) -> list[list[int]]:
    return [share.samples.tolist() for share in shares]


@given(st.integers(1, 200), st.data(), st.integers(0, 5))
def test_iid_covers_without_overlap(samples: int, data: st.DataObject, seed: int) -> None:
    clients = data.draw(st.integers(1, samples))
    shares = deal("iid", Held(train_samples=samples), clients, seed=seed)
    assert sorted(torch.cat([share.samples for share in shares]).tolist()) == list(range(samples))
    sizes = [len(share) for share in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_iid_draws_what_it_always_drew() -> None:
    draw = torch.randperm(60, generator=torch.Generator().manual_seed(seed_of(1, "partition")))
    assert torch.equal(torch.cat([s.samples for s in deal("iid", Held(), 7)]), draw)


def test_iid_of_more_parts_than_clients() -> None:
    whole = indices(deal("iid", Held(), 12))
    assert indices(deal("iid", Held(), 5, parts=12)) == whole[:5]
    shares = indices(deal("iid", Held(), 5, parts=12, train_share=0.7))
    assert shares == [part[:3] for part in whole[:5]]
    # 0.29 x 100 is a little less than 29 in floating point
    assert len(deal("iid", Held(train_samples=100), 1, train_share=0.29)[0]) == 29


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 3}, "parts: 3 parts for 4 clients; give 4 or more"),
        ({"parts": 61}, "parts: 61 parts of 60 samples of held; give fewer"),
        ({"train_share": 0.01}, "train_share: leaves a client none of its 15 samples; give more"),
    ],
)
def test_what_iid_cannot_deal(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as told:
        deal("iid", Held(), 4, **options)
    assert str(told.value) == message


def test_a_key_names_what_is_not_at_its_default() -> None:
    options = PARTITIONS.get("iid").options
    assert Partition(name="iid", options=options()).key == "iid {}"
    assert Partition(name="iid", options=options(parts=7)).key == "iid {'parts': 7}"


@pytest.mark.parametrize("name", ["iid"])
def test_a_seed_draws(name: str) -> None:
    one, again, other = (indices(deal(name, Held(), 4, seed=seed)) for seed in (1, 1, 2))
    assert one == again != other
    assert one != indices(deal(name, replace(Held(), train_samples=59), 4))
