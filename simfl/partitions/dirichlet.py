"""Each class is divided among the clients by a Dirichlet draw. Source: Yurochkin et al. 2019."""

from __future__ import annotations

from typing import Annotated, Final

import torch
from pydantic import Field
from torch import Tensor

from simfl.errors import OptionError
from simfl.options import Options, Positive
from simfl.partitions.base import Samples, Share, generator_of
from simfl.registry import PARTITIONS

_DRAWS: Final = 1000


class DirichletOptions(Options):
    """How uneven.

    Attributes:
        alpha: the smaller, the fewer clients share a class; large ones come near to ``iid``.
        least: the fewest samples that a client may have; drawn again until all have them.
    """

    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    least: Positive = 10


@PARTITIONS.register("dirichlet", options=DirichletOptions)
def dirichlet(options: DirichletOptions, data: Samples, clients: int, *, seed: int) -> list[Share]:
    """For each class the clients' shares of it, from Dir(alpha, ..., alpha); its samples shuffled.

    Source: Yurochkin et al. 2019, "Bayesian nonparametric federated learning of neural networks",
    section 4; all is drawn again while a client has too few samples, as in their code. Hsu et al.
    2019, "Measuring the effects of non-identical data distribution", draw for each client its
    shares of the classes instead.
    """
    labels, generator = data.train_labels, generator_of(seed, "dirichlet")
    members = [(labels == c).nonzero()[:, 0] for c in range(data.classes)]
    counts = torch.tensor([len(it) for it in members])
    if clients * options.least <= data.train_samples:
        for _ in range(_DRAWS):
            cuts = _cuts(options.alpha, counts, clients, generator)
            if int(cuts.diff(dim=1).sum(0).min()) >= options.least:
                return _shares(members, cuts, generator)
    raise OptionError(
        "least",
        f"none of {_DRAWS} draws with alpha {options.alpha:g} gave each of {clients} clients "
        f"{options.least} of {data.train_samples} samples of {data.name}; give a smaller least, "
        "a larger alpha or fewer clients",
    )


def _cuts(alpha: float, counts: Tensor, clients: int, generator: torch.Generator) -> Tensor:
    """Where each class is cut: (classes, clients + 1), from 0 to its count."""
    shape = len(counts), clients
    # a gamma variate of a small alpha underflows, its logarithm does not: G(a) = G(a + 1) U^(1/a)
    above = torch._standard_gamma(
        torch.full(shape, alpha + 1, dtype=torch.float64), generator=generator
    )
    below = torch.rand(shape, dtype=torch.float64, generator=generator).log() / alpha
    shares = (above.log() + below).softmax(1)
    ends = (shares.cumsum(1) * counts[:, None]).round().long()
    ends[:, -1] = counts
    return torch.cat([torch.zeros(len(counts), 1, dtype=torch.long), ends], 1)


def _shares(members: list[Tensor], cuts: Tensor, generator: torch.Generator) -> list[Share]:
    held: list[list[Tensor]] = [[] for _ in range(cuts.shape[1] - 1)]
    for own, ends in zip(members, cuts[:, 1:-1], strict=True):
        mixed = own[torch.randperm(len(own), generator=generator)]
        for client, part in enumerate(torch.tensor_split(mixed, ends)):
            held[client].append(part)
    return [Share(torch.cat(parts)) for parts in held]
