"""Each client holds its samples under an image transform of its own. Source: Pinto et al. 2025."""

from __future__ import annotations

from itertools import cycle
from typing import Annotated, Literal

import torch
from pydantic import Field

from simfl.errors import OptionError
from simfl.options import Options
from simfl.partitions.base import Samples, Share, generator_of
from simfl.partitions.transforms import TRANSFORMS
from simfl.registry import PARTITIONS


class TransformedCopiesOptions(Options):
    """Of which samples.

    Attributes:
        of: ``parts``: each client holds a part, as `iid` deals them; ``all``: each holds all of
            the training set.
        server_share: that share of the training set, rounded down, is kept out of what clients
            hold.
    """

    of: Literal["parts", "all"] = "parts"
    server_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


@PARTITIONS.register("transformed_copies", options=TransformedCopiesOptions)
def transformed_copies(
    options: TransformedCopiesOptions, data: Samples, clients: int, *, seed: int
) -> list[Share]:
    """The transforms in their order; clients beyond the last begin again.

    With ``of: all`` every sample is held by every client. Source: Pinto et al. 2025 (DFL-Trim):
    one distinct transform for each client; which transforms, and how strong, is chosen here.
    """
    _, height, width = data.sample_shape
    if height != width:
        raise OptionError(
            "name",
            f"images of {data.name} are {height} x {width}, and some are to be turned; use "
            "square ones, or another partition",
        )
    order = torch.randperm(data.train_samples, generator=generator_of(seed))
    rest = order[int(len(order) * options.server_share + 1e-9) :]
    if len(rest) < clients:
        raise OptionError(
            "server_share", f"leaves {len(rest)} samples for {clients} clients; give a smaller one"
        )
    parts = torch.tensor_split(rest, clients) if options.of == "parts" else (rest,) * clients
    return [Share(part, name) for part, name in zip(parts, cycle(TRANSFORMS), strict=False)]
