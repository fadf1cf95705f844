"""Wall time of simfl against a plain PyTorch loop of the same SGD work, interleaved in one process.

    python analysis/benchmarks/pi_lenet_against_plain_loop.py --data-dir DATA [--rounds 1000]

scenarios/pi_lenet.yaml at level 15: ten clients, five steps of 20 samples each, per federation. The
plain loop is what one would write by hand: an nn.Module, torch.optim.SGD, gradients masked by hand,
state_dict in and out, a mean. Both start from the same pruned model, see the same batches and run
on one thread; after every 50 federations of the one, the other catches up. The event loop, costs,
keys and the trace are inside simfl's time; data loading, server pruning and evaluation in neither.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from simfl.recording import Progress
from simfl.running import Parts
from simfl.scenario import load
from simfl.simulation import Listeners, run

ROOT = Path(__file__).parent.parent.parent
BLOCK = 50
CLIENTS, STEPS, BATCH, RATE = 10, 5, 20, 0.5


class PlainLoop:
    """The same federations, by hand."""

    def __init__(self, parts: Parts) -> None:
        problem = parts.problem
        initial = parts.algorithm.initial()
        self.module = problem.architecture.build()
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=RATE)
        self.data = [
            (problem.data_of(c).inputs, problem.data_of(c).targets) for c in range(CLIENTS)
        ]
        self.mask = {n: m for n, m in initial.masks.views.items() if n.endswith("weight")}
        self.state = {name: tensor.clone() for name, tensor in initial.tensors.items()}
        self.federation = 0

    def run(self, federations: int) -> None:
        """That many more."""
        for _ in range(federations):
            total: dict[str, torch.Tensor] = {}
            for inputs, targets in self.data:
                self.module.load_state_dict(self.state)
                for step in range(STEPS):
                    at = (self.federation * STEPS + step) * BATCH % len(inputs)
                    self.optimizer.zero_grad()
                    output = self.module(inputs[at : at + BATCH])
                    binary_cross_entropy_with_logits(output, targets[at : at + BATCH]).backward()
                    for name, parameter in self.module.named_parameters():
                        if name in self.mask:
                            parameter.grad.mul_(self.mask[name])
                    self.optimizer.step()
                for name, tensor in self.module.state_dict().items():
                    total[name] = total[name] + tensor if name in total else tensor.clone()
            self.state = {name: tensor / CLIENTS for name, tensor in total.items()}
            self.federation += 1


def main() -> None:
    """Run, and print blocks, medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=1000)
    args = parser.parse_args()
    times: dict[str, list[float]] = {"simfl": [], "plain": []}
    plain: list[PlainLoop] = []
    begun = [0.0]

    def on_round(now: Progress) -> None:
        if now.round % BLOCK:
            return
        if now.round:
            times["simfl"].append(perf_counter() - begun[0])
            at = perf_counter()
            plain[0].run(BLOCK)
            times["plain"].append(perf_counter() - at)
        begun[0] = perf_counter()

    changes = [
        f"protocol.rounds={args.rounds}",
        "stop.accuracy=null",
        "stop.time=null",
        f"record.evaluate_every={args.rounds}",
    ]
    scenario = load(ROOT / "scenarios" / "pi_lenet.yaml", changes)
    with tempfile.TemporaryDirectory() as folder:
        trace = run(
            scenario,
            data_dir=args.data_dir,
            out=Path(folder) / "run.h5",
            listeners=Listeners(start=lambda parts: plain.append(PlainLoop(parts)), round=on_round),
        )
        size = trace.path.stat().st_size
    ours, theirs = sum(times["simfl"]), sum(times["plain"])
    ratios = [a / b for a, b in zip(times["simfl"], times["plain"], strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{args.rounds} federations: simfl {ours:.1f} s, plain loop {theirs:.1f} s")
    print(f"ratio {ours / theirs:.2f}; per block of {BLOCK}: median {median(ratios):.2f}, "
          f"{min(ratios):.2f} to {max(ratios):.2f}")  # fmt: skip
    print(f"peak memory of the process {peak / 2**20:.0f} MiB; trace {size / 2**20:.1f} MiB")
    accuracy = trace.scores["accuracy"].iloc[-1]
    module, test = plain[0].module, plain[0]
    module.load_state_dict(test.state)
    print(f"accuracy: simfl {accuracy:.4f}, plain loop {_accuracy(scenario, args, module):.4f}")


def _accuracy(scenario, args, module) -> float:  # type: ignore[no-untyped-def]
    from simfl.assembly import build

    problem = build(scenario, args.data_dir).problem
    with torch.no_grad():
        found = module(problem.test.inputs).argmax(1)
    return float((found == problem.test.targets.argmax(1)).float().mean())


if __name__ == "__main__":
    main()
