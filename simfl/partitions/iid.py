"""Equal parts of a seeded permutation: each client's samples are like all the others'."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from simfl.errors import OptionError
from simfl.options import Options, Positive
from simfl.partitions.base import Samples, Share, generator_of
from simfl.registry import PARTITIONS


class IidOptions(Options):
    """How many parts, and how much of each.

    Attributes:
        parts: deal into so many; the clients hold the first ones. Left out, one for each client.
        train_share: a client trains on that share of its part, rounded down; the rest is left out.
    """

    parts: Positive | None = None
    train_share: Annotated[float, Field(gt=0, le=1)] = 1.0


@PARTITIONS.register("iid", options=IidOptions)
def iid(options: IidOptions, data: Samples, clients: int, *, seed: int) -> list[Share]:
    """Contiguous parts of a permutation, the first ones larger by at most one."""
    parts = options.parts or clients
    if parts < clients:
        raise OptionError("parts", f"{parts} parts for {clients} clients; give {clients} or more")
    if parts > data.train_samples:
        raise OptionError(
            "parts", f"{parts} parts of {data.train_samples} samples of {data.name}; give fewer"
        )
    held = dealt(data.train_samples, parts, seed)[:clients]
    # not a sample less where the product is one by a rounding error: 0.29 x 100
    shares = [Share(part[: int(len(part) * options.train_share + 1e-9)]) for part in held]
    if not len(shares[-1]):
        raise OptionError(
            "train_share", f"leaves a client none of its {len(held[-1])} samples; give more"
        )
    return shares


def dealt(samples: int, parts: int, seed: int) -> list[Tensor]:
    """A seeded permutation dealt out in contiguous parts, the first ones larger by at most one.

    >>> [len(part) for part in dealt(10, 3, seed=1)]
    [4, 3, 3]
    """
    order = torch.randperm(samples, generator=generator_of(seed))
    return list(torch.tensor_split(order, parts))
