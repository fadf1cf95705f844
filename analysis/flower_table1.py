"""Table 1 of the pruning study in Flower (Jeurkar et al. 2024), beside simfl: accuracy and MiB.

    python analysis/flower_table1.py --data-dir DIR                 # SimpleCNN, all rates: minutes
    python analysis/flower_table1.py --data-dir DIR --scenario flower_resnet12 --rates 0,0.5,0.8 \
        --methods gup --rounds 6 --evaluate-every 3                  # half an hour of a core

Runs what is not in ``--out`` yet. The last column is the study's own error, not ours: sparing the
classifier, which structured pruning otherwise robs of whole classes. Draws OUT/SCENARIO.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
from runs import arguments, made

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt

MIB = 2**20
RATES = [round(0.1 * n, 1) for n in range(10)]
# Table 1: the highest accuracy of the central model, and the mean size sent by a client, "MB" = MiB
PAPER = {
    ("flower_simplecnn", "gup"): (
        [0.93, 0.93, 0.93, 0.93, 0.93, 0.93, 0.91, 0.90, 0.87, 0.32],
        [0.35, 0.32, 0.28, 0.25, 0.21, 0.18, 0.15, 0.11, 0.08, 0.05],
    ),
    ("flower_simplecnn", "lsp"): (
        [0.92, 0.93, 0.82, 0.73, 0.61, 0.56, 0.42, 0.34, 0.16, 0.11],
        [0.35, 0.31, 0.28, 0.25, 0.21, 0.18, 0.15, 0.11, 0.08, 0.05],
    ),
    ("flower_resnet12", "gup"): (
        [0.97, 0.97, 0.97, 0.97, 0.96, 0.97, 0.96, 0.97, 0.97, 0.49],
        [155.74, 142.44, 129.14, 115.84, 102.55, 89.25, 75.95, 62.65, 49.35, 36.06],
    ),
    ("flower_resnet12", "lsp"): (
        [0.97, 0.98, 0.87, 0.78, 0.64, 0.57, 0.44, 0.36, 0.23, 0.11],
        [155.74, 141.51, 126.13, 109.48, 94.24, 77.12, 61.22, 56.46, 41.73, 32.01],
    ),
    ("flower_cifar", "gup"): (
        [0.38, 0.38, 0.40, 0.40, 0.39, 0.40, 0.40, 0.40, 0.39, 0.36],
        [155.75, 142.45, 129.15, 115.85, 102.55, 89.25, 75.96, 62.66, 49.36, 36.06],
    ),
    ("flower_cifar", "lsp"): (
        [0.40, 0.36, 0.36, 0.37, 0.31, 0.24, 0.16, 0.16, 0.12, 0.12],
        [155.75, 138.40, 123.58, 109.52, 97.48, 83.23, 72.24, 58.91, 48.09, 35.11],
    ),
}


def run(
    args: argparse.Namespace, method: str, rate: float, seed: int, *, spared: bool
) -> simfl.Trace:
    """One cell of the table."""
    path = args.out / f"{args.scenario}-{method}-{rate}{'-spared' * spared}-{seed}.h5"
    changes = [
        f"seed={seed}",
        f"learning.algorithm.method={method}",
        f"learning.algorithm.rate={rate}",
        f"learning.algorithm.spare_classifier={str(spared).lower()}",
        *([f"protocol.rounds={args.rounds}"] if args.rounds else []),
        *([f"record.evaluate_every={args.evaluate_every}"] if args.evaluate_every else []),
    ]
    how = {"store": False, "executor": args.executor}
    return made(args.scenario, changes, path, data_dir=args.data_dir, **how)


def main() -> None:
    """Run what is missing, print paper and simfl side by side."""
    parser = arguments(__doc__, "runs/flower")
    parser.add_argument("--scenario", default="flower_simplecnn")
    parser.add_argument("--methods", default="gup,lsp,lsp-spared")
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--evaluate-every", type=int)
    parser.add_argument("--executor", default="auto")
    args = parser.parse_args()
    print(f"{args.scenario}: best accuracy of the mean model; MiB up by a client, mean of rounds")
    print(
        "method      rate   accuracy (lowest, highest seed) paper   diff   round    MiB up  "
        "round 1  paper  MiB down"
    )
    drawn: dict[str, dict[float, simfl.Trace]] = {}
    for method in args.methods.split(","):
        way, _, spared = method.partition("-")
        for rate in map(float, args.rates.split(",")):
            found = [
                run(args, way, rate, seed, spared=bool(spared))
                for seed in map(int, args.seeds.split(","))
            ]
            show(method, rate, found, None if spared else PAPER[args.scenario, way])
            drawn.setdefault(method, {})[rate] = median(found)
    figure(drawn, args.scenario, args.out / f"{args.scenario}.png")


def median(found: list[simfl.Trace]) -> simfl.Trace:
    """Of several seeds the run that is in the middle by its best accuracy."""
    by_accuracy = sorted(found, key=lambda trace: trace.scores["accuracy"].max())
    return by_accuracy[(len(found) - 1) // 2]


def up_mib(trace: simfl.Trace) -> float:
    """What a client sends, in the mean."""
    sent = trace.transfers
    return float(sent["nbytes"][sent["target"] == "server"].mean()) / MIB


def figure(found: dict[str, dict[float, simfl.Trace]], scenario: str, path: Path) -> None:
    """Best accuracy and size by pruning rate, with the table's points."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for method, by_rate in found.items():
        best = [trace.scores["accuracy"].max() for trace in by_rate.values()]
        (line,) = left.plot(list(by_rate), best, "o-", label=method)
        sizes = [up_mib(trace) for trace in by_rate.values()]
        right.plot(list(by_rate), sizes, "o-", color=line.get_color())
        if (paper := PAPER.get((scenario, method))) is not None:
            for axis, points in zip((left, right), paper, strict=True):
                at = [points[RATES.index(round(rate, 1))] for rate in by_rate]
                axis.plot(list(by_rate), at, "x", color=line.get_color(), markersize=9)
    left.plot([], [], "kx", label="Table 1")
    left.set(xlabel="pruning rate", ylabel="best accuracy of the mean model", ylim=(0, 1))
    right.set(xlabel="pruning rate", ylabel="MiB up by a client, mean of rounds", ylim=(0, None))
    left.legend(fontsize="small")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def show(
    method: str, rate: float, found: list[simfl.Trace], paper: tuple[list[float], ...] | None
) -> None:
    """One row; of several seeds the median run, and the worst and best accuracy."""
    by_accuracy = sorted(found, key=lambda trace: trace.scores["accuracy"].max())
    low, trace, high = by_accuracy[0], median(found), by_accuracy[-1]
    scores, sent = trace.scores, trace.transfers
    best = scores.loc[scores["accuracy"].idxmax()]
    up = sent[sent["target"] == "server"]
    first = up[up["round"] == 1]["nbytes"].mean()
    down = sent[sent["source"] == "server"]["nbytes"].mean()
    at = RATES.index(round(rate, 1))
    spread = f"({low.scores['accuracy'].max():.3f}, {high.scores['accuracy'].max():.3f})"
    theirs = "     -      -      -"
    if paper is not None:
        theirs = f"{paper[0][at]:6.2f} {best['accuracy'] - paper[0][at]:+6.3f}"
    print(
        f"{method:11s} {rate:4.1f}   {best['accuracy']:8.3f} {spread:>16s} {theirs} "
        f"{int(best['round']):6d} {up_mib(trace):10.3f} {int(first):9,d} "
        f"{'-' if paper is None else f'{paper[1][at]:.2f}':>6s} {down / MIB:9.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
