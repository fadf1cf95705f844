"""Wall time of simfl against a plain PyTorch loop of the same SGD work: five workloads, W1 to W5.

    python analysis/benchmarks/against_plain_loop.py --data-dir DATA [--pairs 5] [--workloads W1,W3]
        [--executors auto,inline,batched,pool]

The plain loop is what one would write by hand: an nn.Module, torch.optim.SGD, state_dict in and
out, a mean; one thread. Both train on the same client data with batches drawn at random, in one
process tree: a run of simfl, then the loop, and so on; what is told is the median of the pairs'
ratios. Inside simfl's time: keys, event loop, costs, trace, starting and ending processes, and
what `auto` spends on measuring. In neither: reading data, building the model, evaluation. The
accuracies of both ends are told, to show that both have learnt the same amount.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from simfl.hosting import ExecutorName, Host
from simfl.learning.evaluate import evaluate
from simfl.learning.network import floats_of
from simfl.learning.state import ModelState
from simfl.running import Parts
from simfl.scenario import load
from simfl.simulation import Listeners, Outcome, run
from simfl.tensors import NamedTensors

SCENARIOS = Path(__file__).parent / "scenarios"
GOALS = {"W1": 0.45, "W2": 0.60, "W3": 0.70, "W4": 0.60, "W5": 0.40}


@dataclass
class Timed:
    """One run of simfl, by what its listeners are told."""

    parts: Parts | None = None
    begun_s: float = 0.0
    took_s: float = 0.0
    executor: str = ""
    turns: int = 0

    def start(self, parts: Parts) -> None:
        """Everything is built; data that training looks at is made ready, as for the plain loop."""
        self.parts = parts
        parts.problem.prepare()
        self.begun_s = perf_counter()

    def end(self, outcome: Outcome) -> None:
        """The trace is closed."""
        self.took_s = perf_counter() - self.begun_s
        self.executor, self.turns = outcome.executor, outcome.computed["train"]


class PlainLoop:
    """The same rounds by hand; a ring where the scenario has one, else a server."""

    def __init__(self, parts: Parts) -> None:
        self.problem, self.scenario = parts.problem, parts.scenario
        self.module = parts.problem.architecture.build()
        self.local = parts.problem.local
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=self.local.learning_rate)
        first = parts.problem.initial_tensors()
        self.start = {name: tensor.clone() for name, tensor in first.items()}
        self.turns = 0

    def run(self) -> dict[str, Tensor]:
        """All rounds; the last model, or of peers the mean of them."""
        options = self.scenario.protocol.options
        clients = self.problem.clients
        if not self.scenario.platform.has_server:
            states = [self.start] * clients
            for _ in range(options.rounds):
                states = [self.train(state, peer) for peer, state in enumerate(states)]
                states = [
                    mean([states[peer - 1], states[peer], states[(peer + 1) % clients]])
                    for peer in range(clients)
                ]
            return mean(states)
        state = self.start
        for _ in range(options.rounds):
            cohort = torch.randperm(clients)[: options.cohort or clients].tolist()
            state = mean([self.train(state, client) for client in cohort])
        return state

    def train(self, state: dict[str, Tensor], client: int) -> dict[str, Tensor]:
        """One local update."""
        self.turns += 1
        self.module.load_state_dict(state, strict=False)
        data = self.problem.data_of(client)
        for batch in self.batches(len(data)):
            self.optimizer.zero_grad()
            cross_entropy(self.module(data.inputs[batch]), data.targets[batch]).backward()
            self.optimizer.step()
        return {name: tensor.detach().clone() for name, tensor in floats_of(self.module).items()}

    def batches(self, samples: int) -> Iterator[Tensor]:
        """Of one turn: passes in a random order."""
        left = self.local.steps_on(samples)
        while left:
            for batch in torch.randperm(samples).split(self.local.batch_size)[:left]:
                yield batch
                left -= 1


def mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Of models, tensor by tensor."""
    return {name: sum(state[name] for state in states) / len(states) for name in states[0]}


def accuracy(parts: Parts, state: dict[str, Tensor]) -> float:
    """On the test set."""
    tensors = NamedTensors.pack({name: state[name] for name in parts.problem.layout.names})
    return evaluate(parts.problem, ModelState(tensors=tensors)).accuracy


def pair(workload: str, executor: str, data_dir: Path, folder: Path) -> dict[str, object]:
    """A run of simfl, then the plain loop."""
    gc.collect()
    timed = Timed()
    listeners = Listeners(start=timed.start, end=timed.end)
    scenario = load(SCENARIOS / f"{workload}.yaml")
    host = Host(store=None, executor=ExecutorName(executor))
    run(scenario, data_dir=data_dir, out=folder / f"{workload}.h5", host=host, listeners=listeners)
    assert timed.parts is not None
    plain = PlainLoop(timed.parts)
    plain.module.train()
    begun_s = perf_counter()
    state = plain.run()
    plain_s = perf_counter() - begun_s
    assert plain.turns == timed.turns, "not the same work"
    module: nn.Module = plain.module
    assert not any(tensor.isnan().any() for tensor in module.state_dict().values())
    return {
        "simfl_s": timed.took_s,
        "plain_s": plain_s,
        "executor": timed.executor,
        "plain_accuracy": accuracy(timed.parts, state),
    }


def main() -> None:
    """Run, and print a line for each workload and executor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workloads", default=",".join(GOALS))
    parser.add_argument("--executors", default="auto")
    parser.add_argument("--out", type=Path, help="where to append JSON lines")
    args = parser.parse_args()
    torch.manual_seed(0)
    for workload in args.workloads.split(","):
        for executor in args.executors.split(","):
            with tempfile.TemporaryDirectory() as folder:
                found = [
                    pair(workload, executor, args.data_dir, Path(folder)) for _ in range(args.pairs)
                ]
            ratios = [float(p["simfl_s"]) / float(p["plain_s"]) for p in found]  # type: ignore[arg-type]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            print(
                f"{workload} {executor}: ratio {median(ratios):.2f} (goal {GOALS[workload]:.2f}; "
                f"{min(ratios):.2f} to {max(ratios):.2f}); simfl "
                f"{median(float(p['simfl_s']) for p in found):.2f} s, plain "  # type: ignore[arg-type]
                f"{median(float(p['plain_s']) for p in found):.2f} s; {found[-1]['executor']}; "
                f"peak {peak:.0f} MiB",
                flush=True,
            )
            if args.out:
                line = {"workload": workload, "asked": executor, "pairs": found}
                with args.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
