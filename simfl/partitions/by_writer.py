"""Each client holds what one writer, or some writers, wrote; for data sets that know who did."""

from __future__ import annotations

from typing import Literal

import torch

from simfl.errors import OptionError
from simfl.options import Options, Positive
from simfl.partitions.base import Samples, Share
from simfl.registry import PARTITIONS


class ByWriterOptions(Options):
    """Which writers go to whom.

    Attributes:
        writers: ``one_each``: one for each client, the first ones by name, and the others are left
            out; ``shared_out``: all of them, in consecutive groups by name.
        least: writers with fewer training samples are left out.
    """

    writers: Literal["one_each", "shared_out"] = "one_each"
    least: Positive = 1


@PARTITIONS.register("by_writer", options=ByWriterOptions)
def by_writer(options: ByWriterOptions, data: Samples, clients: int, *, seed: int) -> list[Share]:
    """By the writers' names; nothing is drawn, so all seeds give the same.

    Groups are of one size, the first ones larger by at most one writer. ``one_each`` leaves out
    what the other writers wrote. Source of the groups: Jiang et al. 2022, "Model pruning enables
    efficient federated learning on edge devices", whose clients hold FEMNIST so.
    """
    owners = data.train_owners
    if owners is None:
        raise OptionError("name", f"{data.name} does not say who wrote what; use another partition")
    written = owners.bincount(minlength=len(data.owner_names))
    able = (written >= options.least).nonzero()[:, 0]
    if len(able) < clients:
        raise OptionError(
            "writers",
            f"{clients} clients for {len(able)} writers of {data.name} with at least "
            f"{options.least} training samples; give fewer clients or a smaller least",
        )
    shared = options.writers == "shared_out"
    groups = torch.tensor_split(able, clients) if shared else able[:clients].split(1)
    return [
        Share(torch.isin(owners, group).nonzero()[:, 0], writer=_named(group.tolist(), data))
        for group in groups
    ]


def _named(group: list[int], data: Samples) -> str:
    first, last = data.owner_names[group[0]], data.owner_names[group[-1]]
    return first if len(group) == 1 else f"{first} to {last} ({len(group)})"
