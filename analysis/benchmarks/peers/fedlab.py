"""FedAvg with FedLab: its standalone pipeline, server handler and serial trainer.

    python fedlab.py --workload W1 --data-dir DATA [--rounds N] [--threads N]
        [--batches loader|slices]

One process; torch keeps its default threads. The clients' data are a `FedDataset`, whose
`get_dataloader` the trainer calls for each client that it trains. It gives torch's DataLoader, as
in all of FedLab's own datasets, over tensors that are in memory already (FedLab's own datasets
read a file per client and round, and transform each image); with `--batches slices` it gives the
same batches by one indexing each, for what FedLab costs without the DataLoader.

Timed: `StandalonePipeline.main`, with `evaluate` overridden to do nothing.
Not timed: imports, reading and splitting the data, building the model, and the evaluation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import perf_counter

import torchvision_operators  # noqa: F401  before anything that imports torchvision

sys.path.append(sys.path.pop(0))  # this file has its framework's name, and must not hide it

import torch
from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer
from fedlab.contrib.algorithm.basic_server import SyncServerHandler
from fedlab.contrib.dataset.basic_dataset import FedDataset
from fedlab.core.standalone import StandalonePipeline
from peer_workloads import (
    WORKLOADS,
    StepCounter,
    Workload,
    accuracy,
    answer,
    arguments,
    build,
    loader,
    quiet,
    slices,
    split,
)
from torch import Tensor


class Clients(FedDataset):
    """The clients' data, in memory."""

    def __init__(
        self, workload: Workload, data: list[tuple[Tensor, Tensor]], *, sliced: bool
    ) -> None:
        super().__init__()
        self.num = len(data)
        self.workload, self.data, self.sliced = workload, data, sliced

    def get_dataloader(
        self, id: int, batch_size: int, type: str = "train"
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """The batches of a client; the trainer goes through them once per local epoch."""
        if not self.sliced:
            return loader(self.workload, *self.data[id])
        if self.workload.passes == 1:
            return slices(self.workload, *self.data[id])
        return Passes(self.workload, *self.data[id])


class Passes:
    """Sliced batches that can be gone through again, in another order."""

    def __init__(self, workload: Workload, images: Tensor, labels: Tensor) -> None:
        self.given = workload, images, labels

    def __iter__(self) -> Iterable[tuple[Tensor, Tensor]]:
        return slices(*self.given)


class Pipeline(StandalonePipeline):
    """FedLab's rounds, without an evaluation after each."""

    def evaluate(self) -> None:
        """Nothing."""


def main() -> None:
    """Run one workload and print its line."""
    given = arguments(__doc__, batches=True)
    workload = WORKLOADS[given.workload]
    torch.manual_seed(0)
    data = split(workload, given.data_dir)
    model = build(workload)
    with quiet():
        handler = SyncServerHandler(
            model, global_round=given.rounds, sample_ratio=workload.drawn / workload.clients
        )
        trainer = SGDSerialClientTrainer(model, num_clients=workload.clients)
        trainer.setup_dataset(Clients(workload, data, sliced=given.batches == "slices"))
        trainer.setup_optim(workload.passes, workload.batch, workload.rate)
        pipeline = Pipeline(handler, trainer)
        counter = StepCounter()
        start = perf_counter()
        pipeline.main()
        seconds = perf_counter() - start
    right = accuracy(handler.model, given.data_dir)
    answer("fedlab", "fedlab", given, seconds, counter.steps, right)


if __name__ == "__main__":
    main()
