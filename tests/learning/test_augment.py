import torch

from simfl.learning.augment import augmented


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_moves_an_image_by_up_to_four_pixels() -> None:
    images = torch.zeros(200, 2, 12, 10)
    images[:, :, 6, 5] = torch.tensor([1.0, 2.0])
    moved = augmented(images, ("crop",), stream(1))
    assert moved.shape == images.shape
    assert torch.equal(moved.flatten(2).sum(2), images.flatten(2).sum(2))
    rows, columns = moved[:, 0].nonzero()[:, 1] - 6, moved[:, 0].nonzero()[:, 2] - 5
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(-4, 5))
    assert torch.equal(moved[:, 1], 2 * moved[:, 0])


def test_every_second_image_is_mirrored() -> None:
    images = torch.rand(400, 1, 3, 5)
    flipped = augmented(images, ("flip",), stream(2))
    as_is = (flipped == images).flatten(1).all(1)
    assert torch.equal(flipped[~as_is], images[~as_is].flip(3))
    assert 150 < int(as_is.sum()) < 250


def test_draws_come_from_the_stream_alone() -> None:
    images = torch.rand(50, 3, 8, 8)
    before = images.clone()
    one, two, other = (augmented(images, ("crop", "flip"), stream(s)) for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)
