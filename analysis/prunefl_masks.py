"""Which weights early PruneFL keeps (Jiang et al. 2019): Table 5, section 6.1, Fig. 20's starts.

    python analysis/prunefl_masks.py --data-dir DIR [--epochs 50] [--figure FILE.png]

LeNet-300-100 on MNIST, at the server alone, as scenarios/pi_lenet.yaml has it:

- Table 5: how many of the weights that centralised pruning leaves in the first layer are among as
  many that were drawn the largest, or the smallest. The training set whole; the paper's 50 epochs
  a level take a core some half an hour, so --epochs is 1. Rates are 10, 10 and 5 %, from which the
  printed shares of parameters follow (Table 1's 20, 20 and 10 % would leave 33.0 % at level 5).
- Section 6.1: outputs that no input changes at level 30, five seeds: without a path from the
  input, and the same over all test images.
- Fig. 20 and Table 4's baseline: accuracy before the first federation, by the server's samples;
  and what 50 epochs more would make of it.

Everything is predicted. Crosses are Table 5's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from prunefl_accuracy import TABLE_4, claim, said
from prunefl_experiments import INITIALS, SCENARIO
from torch import Tensor

import simfl
from simfl.learning.sgd import Training, epoch_batches, train
from simfl.learning.state import ModelState

mpl.use("Agg")
from matplotlib import pyplot as plt

LEVELS = (5, 10, 15, 20)
# level: percent of the parameters left, overlap with the largest and with the smallest
TABLE_5 = {
    5: (59.2, 73.3, 44.6),
    10: (35.1, 58.1, 12.5),
    15: (20.9, 41.1, 4.8),
    20: (12.6, 35.7, 0.8),
}
CONSTANT = {"sample": 0.0, "init": 3.2, "random": 3.8}  # section 6.1, of ten outputs
SIZES = (200, 400, 600, 800)
FIRST = "fc1.weight"


def pruned(data_dir: Path, *changes: str) -> Any:
    """The algorithm of scenarios/pi_lenet.yaml, under some changes of its options."""
    keys = [f"learning.algorithm.{change}" for change in changes if not change.startswith("seed")]
    seeds = [change for change in changes if change.startswith("seed")]
    parts, _ = simfl.plan(simfl.load(SCENARIO, (*keys, *seeds)), data_dir=data_dir)
    return parts.algorithm


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """One column of Table 5, in percent.

    Attributes:
        stored: of the first layer's weights, those left: what chance would give.
    """

    parameters: float
    stored: float
    largest: float
    smallest: float


def overlaps(data_dir: Path, epochs: int) -> dict[int, Overlap]:
    """Table 5."""
    algorithm = pruned(
        data_dir,
        f"level={max(LEVELS)}",
        "rates=[0.1,0.1,0.05]",
        "server_samples=60000",
        f"server_epochs={epochs}",
    )
    ranks = algorithm.problem.initial_tensors()[FIRST].abs().flatten().argsort(descending=True)
    found = {}
    for state in algorithm.levels():
        if state.level not in LEVELS:
            continue
        counts, mask = state.manifest(), state.masks.views[FIRST].flatten()
        left = int(mask.sum())
        found[state.level] = Overlap(
            parameters=100 * counts.nonzero / counts.size,
            stored=100 * left / len(mask),
            largest=100 * float(mask[ranks[:left]].mean()),
            smallest=100 * float(mask[ranks[-left:]].mean()),
        )
    return found


def table_5(found: dict[int, Overlap], epochs: int) -> None:
    """Beside the paper's."""
    print(f"Table 5, %, {epochs} epochs a level on 60,000 samples (the paper's: 50)")
    print("level  parameters (paper)    largest (paper)   smallest (paper)   by chance")
    for level, own in found.items():
        paper = TABLE_5[level]
        print(
            f"{level:5}  {own.parameters:10.1f} ({paper[0]})  {own.largest:11.1f} ({paper[1]})  "
            f"{own.smallest:11.1f} ({paper[2]})  {own.stored:10.1f}"
        )
    claim(
        "section 6.4",
        "weights drawn large are likely to be kept, those drawn small to be eliminated",
        "more and fewer than by chance at all levels",
        all(own.largest > own.stored > own.smallest for own in found.values()),
    )


def unreached(state: ModelState) -> int:
    """Outputs to which no path of weights leads from an input."""
    assert state.masks is not None
    reach: Tensor | None = None
    for name in ("fc1.weight", "fc2.weight", "fc3.weight"):
        mask = state.masks.views[name]
        reach = (mask if reach is None else mask * reach).any(1).float()
    assert reach is not None
    return int((reach == 0).sum())


def unchanged(algorithm: Any, state: ModelState) -> int:
    """Outputs that are the same for every test image."""
    network = algorithm.problem.network(state.tensors.layout)
    network.load([state.tensors.flat])
    outputs = network.logits(algorithm.problem.test.inputs)
    return int(((outputs.amax(0) - outputs.amin(0)) < 1e-6).sum())


def constants(data_dir: Path, seeds: int) -> None:
    """Section 6.1."""
    print(f"\nSection 6.1: constant outputs of ten at level 30, mean over {seeds} seeds")
    for initial, paper in CONSTANT.items():
        cut, same = [], []
        for seed in range(1, seeds + 1):
            named = f"initial={INITIALS[initial]}"
            algorithm = pruned(data_dir, "level=30", named, f"seed={seed}")
            state = algorithm.initial()
            cut.append(unreached(state))
            same.append(unchanged(algorithm, state))
        means = [sum(each) / seeds for each in (cut, same)]
        print(
            f"  {initial:6} without a path {means[0]:.1f} {cut}, unchanged over the test images "
            f"{means[1]:.1f} {same}, paper {paper}"
        )


def more(algorithm: Any, state: ModelState) -> ModelState:
    """After 50 epochs more on the server's samples, as before one more level."""
    problem, options = algorithm.problem, algorithm.options
    data = problem.samples(algorithm._server_samples())
    batches = epoch_batches(len(data), problem.local.batch_size, options.server_epochs)
    start = Training(tensors=state.tensors, masks=state.masks, data=data, batches=batches)
    [trained] = train(problem.network, problem.local, [start])
    return replace(state, tensors=trained.tensors)


def starts(data_dir: Path) -> dict[int, dict[int, float]]:
    """Accuracy by the server's samples and level, before the first federation, in percent."""
    print("\nFig. 20 at federation 0, and Table 4's baseline (200 samples), %")
    found: dict[int, dict[int, float]] = {}
    for size in SIZES:
        top = 30 if size == 200 else max(LEVELS)
        algorithm = pruned(data_dir, f"level={top}", f"server_samples={size}")
        found[size] = {}
        for state in algorithm.levels():
            if state.level % 5 == 0 and state.level:
                found[size][state.level] = 100 * algorithm.score(state).accuracy
                if size == 200:
                    again = 100 * algorithm.score(more(algorithm, state)).accuracy
                    paper = TABLE_4["baseline"][state.level // 5 - 1]
                    print(
                        f"  level {state.level:2}: {found[size][state.level]:.1f}, after 50 "
                        f"epochs more {again:.1f}, paper {paper}"
                    )
    for level in LEVELS:
        line = {f"{size} samples": found[size][level] for size in SIZES}
        values = list(line.values())
        text = f"level {level}: more samples start higher"
        claim("Fig. 20", text, said(line), values == sorted(values))
    return found


def draw(
    overlap: dict[int, Overlap], started: dict[int, dict[int, float]], epochs: int, path: Path
) -> None:
    """Table 5, and Fig. 20's starts."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    levels = list(overlap)
    for column, (what, label) in enumerate(
        (
            ("parameters", "parameters left"),
            ("largest", "overlap, largest"),
            ("smallest", "overlap, smallest"),
        )
    ):
        values = [getattr(own, what) for own in overlap.values()]
        left.plot(levels, values, "o-", color=f"C{column}", label=label)
        left.plot(levels, [TABLE_5[level][column] for level in levels], "x", color=f"C{column}")
    left.plot([], [], "kx", label="paper's")
    left.set(title=f"Table 5 ({epochs} of 50 epochs a level)", xlabel="pruning level", ylabel="%")
    for size, line in started.items():
        right.plot(list(line), list(line.values()), "o-", label=f"{size} samples")
    right.plot(range(5, 31, 5), TABLE_4["baseline"], "kx", label="Table 4's baseline, 200 samples")
    right.set(
        title="before the first federation", xlabel="pruning level", ylabel="test accuracy, %"
    )
    for axis in (left, right):
        axis.legend(fontsize="x-small")
        axis.grid(alpha=0.3)
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def main() -> None:
    """Prune, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1, help="of Table 5, before each level")
    parser.add_argument("--seeds", type=int, default=5, help="of section 6.1")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    constants(args.data_dir, args.seeds)
    overlap = overlaps(args.data_dir, args.epochs)
    table_5(overlap, args.epochs)
    started = starts(args.data_dir)
    if args.figure:
        draw(overlap, started, args.epochs, args.figure)


if __name__ == "__main__":
    main()
