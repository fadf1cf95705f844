import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.learning.averaging import masked_mean, weighted_mean


@given(
    st.lists(
        st.tuples(st.floats(-100, 100, width=32), st.integers(1, 1000)), min_size=1, max_size=6
    )
)
def test_as_by_hand(pairs: list[tuple[float, int]]) -> None:
    vectors = [torch.tensor([value, 1.0]) for value, _ in pairs]
    weights = [weight for _, weight in pairs]
    total = sum(weights)
    expected = sum(value * weight for value, weight in pairs) / total
    mean = weighted_mean(vectors, weights)
    assert mean.tolist() == pytest.approx([expected, 1.0], rel=1e-4, abs=1e-4)
    # what went in is as it was
    assert [v.tolist() for v in vectors] == [[value, 1.0] for value, _ in pairs]


def test_the_mean_of_one_is_a_copy() -> None:
    vector = torch.tensor([1.0, 2.0])
    mean = weighted_mean([vector], [7])
    mean.zero_()
    assert vector.tolist() == [1, 2]


def test_a_weight_of_zero_leaves_out() -> None:
    vectors = [torch.tensor([5.0]), torch.tensor([7.0])]
    assert weighted_mean(vectors, [0, 3]).tolist() == [7]


def test_as_many_weights_as_vectors() -> None:
    with pytest.raises(ValueError, match="zip"):
        weighted_mean([torch.ones(1), torch.ones(1)], [1])


def test_a_masked_mean_asks_those_who_have_the_entry() -> None:
    vectors = [torch.tensor([1.0, 2.0, 9.0, 9.0]), torch.tensor([5.0, 6.0, 7.0, 9.0])]
    masks = [torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])]
    assert masked_mean(vectors, masks, [3, 1]).tolist() == [2, 2, 7, 0]
    old = torch.tensor([0.0, 0.0, 0.0, 4.0])
    assert masked_mean(vectors, masks, [3, 1], old).tolist() == [2, 2, 7, 4]
    # whose weight is 0 is not asked
    assert masked_mean(vectors, masks, [0, 1], old).tolist() == [5, 0, 7, 4]


def test_without_masks_it_is_the_mean() -> None:
    vectors = [torch.tensor([0.0, 8.0]), torch.tensor([4.0, 0.0])]
    found = masked_mean(vectors, [None, torch.ones(2)], [3, 1])
    assert found.tolist() == weighted_mean(vectors, [3, 1]).tolist() == [1, 6]
    with pytest.raises(ValueError, match="zip"):
        masked_mean(vectors, [None], [1, 1])
