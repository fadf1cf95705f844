"""Partitions: which samples each client holds. Pure, seeded."""

import torch
from torch import Tensor

from simfl.keys import seed_of


def iid(samples: int, clients: int, seed: int) -> list[Tensor]:
    """A seeded permutation dealt out in contiguous parts, the first ones larger by at most one.

    Raises:
        ValueError: more clients than samples.

    >>> [len(part) for part in iid(10, 3, seed=1)]
    [4, 3, 3]
    """
    if clients > samples:
        raise ValueError(f"{clients} clients for {samples} samples")
    generator = torch.Generator().manual_seed(seed_of(seed, "partition"))
    return list(torch.tensor_split(torch.randperm(samples, generator=generator), clients))


def iid_sizes(samples: int, clients: int) -> list[int]:
    """How many samples `iid` gives to each client.

    >>> iid_sizes(10, 3)
    [4, 3, 3]
    """
    each, more = divmod(samples, clients)
    return [each + (client < more) for client in range(clients)]
