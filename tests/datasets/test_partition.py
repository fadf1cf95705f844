import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.datasets.partition import iid


@given(st.integers(1, 200), st.data(), st.integers(0, 5))
def test_an_iid_partition_covers_without_overlap(
    samples: int, data: st.DataObject, seed: int
) -> None:
    clients = data.draw(st.integers(1, samples))
    parts = iid(samples, clients, seed)
    assert len(parts) == clients
    assert sorted(torch.cat(parts).tolist()) == list(range(samples))
    sizes = [len(part) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    assert all(torch.equal(a, b) for a, b in zip(parts, iid(samples, clients, seed), strict=True))


def test_a_partition_is_seeded_and_mixed() -> None:
    one, other = (torch.cat(iid(100, 4, seed)).tolist() for seed in (1, 2))
    assert one != other
    assert one != sorted(one)


def test_more_clients_than_samples() -> None:
    with pytest.raises(ValueError, match="4 clients for 3 samples"):
        iid(3, 4, seed=1)
