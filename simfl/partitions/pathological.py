"""A few classes for each client: shards of sorted samples. Source: McMahan et al. 2017."""

from __future__ import annotations

import torch

from simfl.errors import OptionError
from simfl.options import Options, Positive
from simfl.partitions.base import Samples, Share, generator_of
from simfl.registry import PARTITIONS


class PathologicalOptions(Options):
    """How few.

    Attributes:
        classes: shards that each client holds.
    """

    classes: Positive = 2


@PARTITIONS.register("pathological", options=PathologicalOptions)
def pathological(
    options: PathologicalOptions, data: Samples, clients: int, *, seed: int
) -> list[Share]:
    """Sorted by label, cut into ``clients x classes`` shards, dealt at random.

    A shard is of one class where the shards divide each class evenly, of neighbouring ones where
    they do not; a client holds fewer classes than shards where two of its shards are of one class.
    Source: McMahan et al. 2017, "Communication-efficient learning of deep networks from
    decentralized data", section 3.
    """
    each = options.classes
    shards = clients * each
    if shards > data.train_samples:
        raise OptionError(
            "classes",
            f"{clients} clients x {each} are {shards} shards of {data.train_samples} samples of "
            f"{data.name}; give fewer classes or fewer clients",
        )
    by_label = torch.tensor_split(data.train_labels.argsort(stable=True), shards)
    order = torch.randperm(shards, generator=generator_of(seed, "pathological")).view(clients, each)
    return [Share(torch.cat([by_label[shard] for shard in mine])) for mine in order.tolist()]
