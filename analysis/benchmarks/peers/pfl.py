"""FedAvg with pfl: SimulatedBackend, FederatedAveraging and PyTorchModel.

    python pfl.py --workload W1 --data-dir DATA [--rounds N] [--threads N]
    torchrun --nproc-per-node 2 pfl.py ...

One process, pfl's default, or, started by torchrun, as many as it starts, which share a round's
users among them; torch keeps its default threads (torchrun sets one for each process). A user's
dataset is a PyTorchTensorDataset made by `make_dataset_fn`, anew each time that the user is drawn,
as pfl wants it. pfl stops a pass when the data end and never shuffles, so where the workload counts
steps the dataset is made of just those steps' samples, drawn at random. Users are drawn by pfl's
`minimize_reuse` sampler.

Timed: `FederatedAveraging.run`. pfl calls the model's `metrics` on the first round's users before
and after they train, and cannot be told not to; it does no forward pass here, so nothing is
evaluated in the timed part.
Not timed: imports, reading and splitting the data, building the model, and the evaluation.
"""

from __future__ import annotations

import sys
from time import perf_counter

sys.path.append(sys.path.pop(0))  # this file has its framework's name, and must not hide it

import asyncio

import numpy as np
import torch
import torch.distributed as dist
from peer_workloads import (
    WORKLOADS,
    StepCounter,
    accuracy,
    answer,
    arguments,
    build,
    order_of,
    quiet,
    split,
)
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Classifier(nn.Module):
    """A model with the two methods that pfl calls."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        return self.body(images)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """What a user's SGD minimises."""
        return cross_entropy(self(images), labels)

    def metrics(self, images: Tensor, labels: Tensor) -> dict[str, Weighted]:
        """Nothing but the number of samples: there is no evaluation in the timed part."""
        return {"samples": Weighted(0, len(labels))}


def main() -> None:
    """Run one workload and print its line."""
    given = arguments(__doc__)
    workload = WORKLOADS[given.workload]
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  pfl asks for the same global seed in each process
    data = split(workload, given.data_dir)
    asyncio.set_event_loop(asyncio.new_event_loop())

    def user(index: int) -> PyTorchTensorDataset:
        images, labels = data[index]
        if workload.steps is not None:
            order = order_of(workload)
            images, labels = images[order], labels[order]
        return PyTorchTensorDataset((images, labels), user_id=str(index))

    users = FederatedDataset(
        user, get_user_sampler("minimize_reuse", list(range(workload.clients)))
    )
    module = Classifier(build(workload))
    model = PyTorchModel(
        model=module,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
    )
    counter = StepCounter()
    module.train()

    with quiet():
        start = perf_counter()
        FederatedAveraging().run(
            backend=SimulatedBackend(training_data=users, val_data=users),
            model=model,
            algorithm_params=NNAlgorithmParams(
                central_num_iterations=given.rounds,
                evaluation_frequency=given.rounds,
                train_cohort_size=workload.drawn,
                val_cohort_size=0,
            ),
            model_train_params=NNTrainHyperParams(
                local_num_epochs=workload.passes,
                local_learning_rate=workload.rate,
                local_batch_size=workload.batch,
            ),
        )
        seconds = perf_counter() - start

    # the server's own step of each round is an optimiser's too, and no SGD step of a client
    steps = counter.steps - given.rounds
    if dist.is_initialized():
        total = torch.tensor(steps)
        dist.all_reduce(total)
        steps = int(total)
        if dist.get_rank() > 0:
            return
    answer("pfl", "pfl", given, seconds, steps, accuracy(module, given.data_dir))


if __name__ == "__main__":
    main()
