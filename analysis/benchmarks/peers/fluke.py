"""FedAvg with fluke: its FedAVG class on its own DataSplitter.

    python fluke.py --workload W1 --data-dir DATA [--rounds N] [--threads N]

One process; torch keeps its default threads. Everything stays in memory (fluke's default), and all
four of fluke's evaluations are switched off. Clients iterate over fluke's FastDataLoader, which
slices shuffled tensors. fluke counts epochs only: where the workload counts steps, each client's
loader is replaced by a FastDataLoader of which one pass is just those steps, over a random draw of
the client's samples.

Timed: `FedAVG.run`, with fluke's progress bars and its final round of sending the model to all
clients that took part.
Not timed: imports, reading and splitting the data, building the model, the construction of FedAVG,
and the evaluation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from time import perf_counter

import torchvision_operators  # noqa: F401  before anything that imports torchvision

sys.path.append(sys.path.pop(0))  # this file has its framework's name, and must not hide it

from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DataContainer, DataSplitter, FastDataLoader
from peer_workloads import (
    WORKLOADS,
    StepCounter,
    Workload,
    accuracy,
    answer,
    arguments,
    build,
    mnist,
    quiet,
    slices,
    training,
)
from torch import Tensor


class FewSteps(FastDataLoader):
    """A loader of which one pass is the workload's number of steps."""

    def __init__(self, workload: Workload, whole: FastDataLoader) -> None:
        super().__init__(
            *whole.tensors, num_labels=whole.num_labels, batch_size=workload.batch, shuffle=True
        )
        self.workload = workload
        self.n_batches = workload.client_steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return slices(self.workload, *self.tensors)


def main() -> None:
    """Run one workload and print its line."""
    given = arguments(__doc__)
    workload = WORKLOADS[given.workload]
    with quiet():
        environment = FlukeENV()
        environment.set_seed(0)
        environment.set_eval_cfg(pre_fit=False, post_fit=False, locals=False, server=False)
        images, labels = training(workload, given.data_dir)
        container = DataContainer(images, labels, *mnist(given.data_dir, "t10k"), num_classes=10)
        federation = FedAVG(
            n_clients=workload.clients,
            data_splitter=DataSplitter(container, distribution="iid"),
            hyper_params=DDict(
                client=DDict(
                    batch_size=workload.batch,
                    local_epochs=workload.passes,
                    loss="CrossEntropyLoss",
                    optimizer=DDict(name="SGD", lr=workload.rate),
                    scheduler=DDict(name="StepLR", step_size=1, gamma=1),
                ),
                server=DDict(weighted=True),
                model=build(workload),
            ),
        )
        if workload.steps is not None:
            for client in federation.clients:
                client.train_set = FewSteps(workload, client.train_set)
        counter = StepCounter()
        start = perf_counter()
        federation.run(n_rounds=given.rounds, eligible_perc=workload.drawn / workload.clients)
        seconds = perf_counter() - start
    right = accuracy(federation.server.model, given.data_dir)
    answer("fluke", "fluke-fl", given, seconds, counter.steps, right)


if __name__ == "__main__":
    main()
