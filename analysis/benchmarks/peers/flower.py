"""FedAvg with Flower: a ServerApp and a ClientApp in its simulation runtime, on Ray.

    python flower.py --workload W1 --data-dir DATA [--rounds N] [--batches loader|slices]

`client_resources` asks for one CPU per client, so that there are as many worker processes as the
machine has cores, each with one torch thread (Ray's default for one CPU). The client's training
loop is the user's own in Flower; it is the one of Flower's PyTorch tutorial, with torch's
DataLoader over tensors that are in memory already, or, with `--batches slices`, with the same
batches by one indexing each, for what Flower costs without the DataLoader.

Timed: `FedAvg.start` in the ServerApp, with `fraction_evaluate=0`. One round of the same workload
comes before it, in which the workers import torch and read the data.
Not timed: that round, starting and stopping Ray and its workers, registering the clients, imports,
reading and splitting the data, building the model, and the evaluation.
"""

from __future__ import annotations

import os
from time import perf_counter

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import torch
from flower_client import app as client_app
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result
from flwr.simulation import run_simulation
from peer_workloads import WORKLOADS, accuracy, answer, arguments, build, quiet


def summed(replies: list[RecordDict], weighted_by: str) -> MetricRecord:
    """The SGD steps that all clients of a round have done, and on how many threads each."""
    of = [reply["metrics"] for reply in replies]
    return MetricRecord(
        {
            "sgd-steps": sum(metrics["sgd-steps"] for metrics in of),
            "threads": max(metrics["threads"] for metrics in of),
        }
    )


def main() -> None:
    """Run one workload and print its line."""
    given = arguments(__doc__, batches=True, threads=False)
    workload = WORKLOADS[given.workload]
    model = build(workload)
    config = ConfigRecord(
        {
            "workload": given.workload,
            "data-dir": str(given.data_dir),
            "batches": given.batches,
        }
    )
    measured: dict[str, float] = {}
    server_app = ServerApp()

    @server_app.main()
    def serve(grid: Grid, context: Context) -> None:
        def start(rounds: int) -> tuple[float, Result]:
            strategy = FedAvg(
                fraction_train=workload.drawn / workload.clients,
                fraction_evaluate=0.0,
                min_train_nodes=workload.drawn,
                min_available_nodes=workload.clients,
                train_metrics_aggr_fn=summed,
            )
            arrays = ArrayRecord(model.state_dict())
            begin = perf_counter()
            result = strategy.start(grid, arrays, num_rounds=rounds, train_config=config)
            seconds = perf_counter() - begin
            return seconds, result

        start(1)
        measured["seconds"], result = start(given.rounds)
        rounds = result.train_metrics_clientapp.values()
        measured["steps"] = sum(int(metrics["sgd-steps"]) for metrics in rounds)
        measured["threads"] = max(int(metrics["threads"]) for metrics in rounds)
        model.load_state_dict(result.arrays.to_torch_state_dict())

    torch.manual_seed(0)
    with quiet():
        run_simulation(
            server_app=server_app,
            client_app=client_app,
            num_supernodes=workload.clients,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    answer(
        "flower",
        "flwr",
        given,
        measured["seconds"],
        int(measured["steps"]),
        accuracy(model, given.data_dir),
        threads=int(measured["threads"]),
    )


if __name__ == "__main__":
    main()
