import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.pruning.masks import (
    drop_smallest,
    full,
    grow_largest,
    keep_largest,
    remaining_after,
)
from simfl.pruning.scores import magnitude, random
from simfl.tensors import Layout


def test_full_masks_keep_everything() -> None:
    masks = full(Layout(("w", "b"), ((2, 3), (2,))))
    assert masks.kept == (6, 2)
    assert masks.flat.tolist() == [1.0] * 8


@pytest.mark.parametrize(
    ("kept", "rate", "left"), [(10, 0.2, 8), (9, 0.1, 9), (10, 0.0, 10), (10, 1.0, 0), (0, 0.5, 0)]
)
def test_the_number_removed_is_truncated(kept: int, rate: float, left: int) -> None:
    assert remaining_after(kept, rate) == left


def test_thirty_levels_of_lenet() -> None:
    # Jiang et al. 2019, Table 1's rates over 784-300-100-10
    kept = [235_200, 30_000, 1000]
    for _ in range(30):
        kept = [remaining_after(n, r) for n, r in zip(kept, (0.2, 0.2, 0.1), strict=True)]
    # the 379 stored weights behind Fig. 2's level 30
    assert kept == [293, 39, 47]


@given(
    scores=st.lists(st.integers(-3, 3), min_size=1, max_size=20),
    data=st.data(),
    rate=st.floats(0, 1),
)
def test_the_lowest_scored_of_the_kept_go(
    scores: list[int], data: st.DataObject, rate: float
) -> None:
    bits = st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))
    kept = data.draw(bits)
    mask, score = torch.tensor(kept).float(), torch.tensor(scores).float()
    after = drop_smallest(mask, score, rate)
    order = sorted((s, i) for i, s in enumerate(scores) if kept[i])
    stay = {i for _, i in order[len(order) - remaining_after(len(order), rate) :]}
    assert after.tolist() == [float(i in stay) for i in range(len(scores))]
    assert mask.tolist() == [float(k) for k in kept]


def test_any_shape_is_kept() -> None:
    score = torch.tensor([[[4.0, 1.0]], [[3.0, 2.0]]])
    assert drop_smallest(torch.ones(2, 1, 2), score, 0.5).tolist() == [[[1, 0]], [[1, 0]]]


def test_scores() -> None:
    weight = torch.tensor([[-3.0, 1.0], [0.0, 2.0]])
    assert magnitude(weight).tolist() == [[3, 1], [0, 2]]
    draws = [random(weight, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].shape == weight.shape


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 1000))
def test_dropping_and_growing_keep_so_many(dropped_to: int, grown_to: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(3, 4, generator=generator) < 0.5).float()
    score = torch.rand(3, 4, generator=generator)
    held = int(mask.sum())
    left = keep_largest(mask, score, dropped_to)
    assert int(left.sum()) == min(dropped_to, held)
    assert ((mask - left) >= 0).all()
    grown = grow_largest(left, score, grown_to)
    assert int(grown.sum()) == max(grown_to, int(left.sum()))
    assert ((grown - left) >= 0).all()
    new, out = (grown - left).bool(), ~grown.bool()
    if new.any() and out.any():
        assert score[new].min() >= score[out].max()
