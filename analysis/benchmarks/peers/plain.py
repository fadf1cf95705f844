"""FedAvg as one would write it by hand with torch, on one thread: what the peers are held against.

    python plain.py --workload W1 --data-dir DATA [--rounds N] [--threads N]

One module and one optimiser serve all clients; a client loads the global state_dict, trains, and
its state_dict is added to the sum. Timed: all of that, with drawing clients and batches.
Not timed: imports, reading and splitting the data, building the model, and the evaluation.
"""

from __future__ import annotations

from time import perf_counter

import torch
from peer_workloads import WORKLOADS, StepCounter, accuracy, answer, arguments, build, slices, split
from torch import Tensor
from torch.nn.functional import cross_entropy


def main() -> None:
    """Run one workload and print its line."""
    given = arguments(__doc__)
    workload = WORKLOADS[given.workload]
    torch.set_num_threads(given.threads or 1)
    torch.manual_seed(0)
    data = split(workload, given.data_dir)
    model = build(workload)
    optimizer = torch.optim.SGD(model.parameters(), lr=workload.rate)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    counter = StepCounter()
    model.train()

    start = perf_counter()
    for _ in range(given.rounds):
        total: dict[str, Tensor] = {}
        for client in torch.randperm(workload.clients)[: workload.drawn].tolist():
            model.load_state_dict(state)
            for _ in range(workload.passes):
                for images, labels in slices(workload, *data[client]):
                    optimizer.zero_grad()
                    cross_entropy(model(images), labels).backward()
                    optimizer.step()
            for name, tensor in model.state_dict().items():
                total[name] = total[name] + tensor if name in total else tensor.clone()
        state = {name: tensor / workload.drawn for name, tensor in total.items()}
    seconds = perf_counter() - start

    model.load_state_dict(state)
    answer("plain", "torch", given, seconds, counter.steps, accuracy(model, given.data_dir))


if __name__ == "__main__":
    main()
