"""The ClientApp of flower.py.

It is a module of its own since Flower's worker processes import it by its name, and keep here what
lives longer than one client's turn: the data, read once per process, and the count of SGD steps.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from peer_workloads import WORKLOADS, StepCounter, build, loader, slices, split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

app = ClientApp()


@cache
def data_of(workload: str, data_dir: str) -> list[tuple[Tensor, Tensor]]:
    """All clients' data."""
    return split(WORKLOADS[workload], Path(data_dir))


@cache
def module_of(workload: str) -> nn.Module:
    """The module that all clients of this process train in turn."""
    return build(WORKLOADS[workload])


@cache
def counter() -> StepCounter:
    """The SGD steps done in this process."""
    return StepCounter()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One client's turn: load the global model, train, reply with the trained one."""
    config = message.content["config"]
    name, batches = str(config["workload"]), str(config["batches"])
    workload = WORKLOADS[name]
    images, labels = data_of(name, str(config["data-dir"]))[
        int(context.node_config["partition-id"])
    ]
    model = module_of(name)
    before = counter().steps
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=workload.rate)
    make = loader if batches == "loader" else slices
    for _ in range(workload.passes):
        for x, y in make(workload, images, labels):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    reply = RecordDict(
        {
            "arrays": ArrayRecord(model.state_dict()),
            "metrics": MetricRecord(
                {
                    "num-examples": len(labels),
                    "sgd-steps": counter().steps - before,
                    "threads": torch.get_num_threads(),
                }
            ),
        }
    )
    return Message(content=reply, reply_to=message)
