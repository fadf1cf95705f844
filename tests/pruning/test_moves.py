import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simfl.pruning.moves import apportioned, moved

WANTED = st.floats(0, 1e6, allow_subnormal=False)


@given(
    st.lists(st.tuples(WANTED, st.integers(0, 50_000)), min_size=1, max_size=8),
    st.integers(0, 200_000),
)
def test_what_is_apportioned_sums_up_and_fits(each: list[tuple[float, int]], total: int) -> None:
    wanted = {f"layer{i}": want for i, (want, _) in enumerate(each)}
    room = {f"layer{i}": most for i, (_, most) in enumerate(each)}
    found = apportioned(total, wanted, room)
    assert sum(found.values()) == min(total, sum(room.values()))
    assert all(0 <= found[name] <= room[name] for name in room)
    # of two that have room left, who wants more gets no less
    free = [name for name in room if found[name] < room[name]]
    assert all(found[a] >= found[b] for a in free for b in free if wanted[a] > wanted[b])


@pytest.mark.parametrize("density", [0.1, 0.5, 0.95])
def test_moves_keep_the_number_of_entries(density: float) -> None:
    stream = torch.Generator().manual_seed(3)
    masks = {n: (torch.rand((30, k), generator=stream) < density).float() for n, k in SIZES}
    weights = {n: torch.randn(m.shape, generator=stream) * m for n, m in masks.items()}
    weights["large"] *= 100
    after = moved(weights, masks, 0.25, torch.Generator().manual_seed(4))
    assert sum(int(m.sum()) for m in after.values()) == sum(int(m.sum()) for m in masks.values())
    for name, mask in masks.items():
        kept = mask == 1
        # all but the smallest quarter are still there
        largest = weights[name].abs() > weights[name][kept].abs().quantile(0.26)
        assert bool(after[name][largest].all())
        assert set(after[name].unique().tolist()) <= {0.0, 1.0}
    # what was given was not changed
    assert all(int(m.sum()) == int((weights[n] != 0).sum()) for n, m in masks.items())


SIZES = (("small", 10), ("large", 20), ("third", 5))


def test_a_full_layer_of_large_weights_loses_nothing() -> None:
    """Sparse momentum's rule: where less than a fifth is zero, no more goes than there is room."""
    masks = {"full": torch.ones(10, 10), "thin": torch.zeros(10, 10)}
    masks["thin"][:5] = 1
    weights = {"full": 9 * masks["full"], "thin": masks["thin"]}
    after = moved(weights, masks, 0.5, torch.Generator().manual_seed(4))
    assert torch.equal(after["full"], masks["full"])
    assert int(after["thin"].sum()) == 50
    assert not torch.equal(after["thin"], masks["thin"])
