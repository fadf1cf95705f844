"""Stage 1 of AutoPrune on FEMNIST, over seeds: which network is left, and what it saves.

    python analysis/autoprune_search.py --data-dir DIR [--seeds 10] [--rounds 50] [--epochs 5]
    python analysis/autoprune_search.py                # reads the traces in --out

Nguyen et al. 2025, Table 1 (Conv, k = 2.2), Figs. 6 and 7, on the 101 writers of our sample with 20
training images and more, where the paper has 3,400. Both variants: the remaining filters ``keep``
their weights, as in Algorithm 1, or the smaller network is drawn anew, as in the public code.
Communication is of 100 rounds, 10 clients a round, both ways: after the search each round has the
same bytes, so rounds that were not run are counted on. Draws OUT/search.png.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, pstdev

import matplotlib as mpl

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt

PAPER = 16_683
LOGGED = 21_488
"""In the public log, which draws the smaller network anew."""
DENSE = 56_126
COMMUNICATION_ROUNDS = 100
VARIANTS = ("keep", "reinit")


def path_of(args: argparse.Namespace, variant: str, seed: int) -> Path:
    """Where a run's trace lies."""
    return args.out / f"search-{variant}-k{args.k:g}-{seed}.h5"


def run(args: argparse.Namespace, variant: str, seed: int) -> None:
    """One search."""
    path = path_of(args, variant, seed)
    if path.exists() and simfl.Trace(path).complete:
        return
    changes = [
        f"seed={seed}",
        f"learning.algorithm.weights={variant}",
        f"learning.algorithm.k={args.k}",
        f"learning.local.epochs={args.epochs}",
        f"protocol.rounds={args.rounds}",
        f"record.evaluate_every={args.rounds}",
    ]
    scenario = simfl.load("autoprune_femnist", changes)
    simfl.run(scenario, data_dir=args.data_dir, out=path, executor=args.executor)
    print(f"{path} written", flush=True)


def sizes(trace: simfl.Trace) -> list[int]:
    """Parameters of the model that each round begins with, and of the last."""
    sent = trace.transfers
    down = sent[sent["source"] == "server"].groupby("round")["nbytes"].first() // 4
    return [*map(int, down), int(trace.scores["nonzero"].iloc[-1])]


def searched(found: list[int], patience: int = 3) -> int:
    """Rounds until nothing went for so many in a row."""
    idle = 0
    for round, (before, after) in enumerate(pairwise(found), 1):
        idle = idle + 1 if after == before else 0
        if idle == patience:
            return round
    return len(found) - 1


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="run what --out lacks on the data there")
    parser.add_argument("--out", type=Path, default=Path("runs/autoprune"))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--k", type=float, default=2.2)
    parser.add_argument("--executor", default="auto")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for variant in args.variants.split(","):
        found = []
        for seed in range(1, args.seeds + 1):
            if args.data_dir:
                run(args, variant, seed)
            path = path_of(args, variant, seed)
            if path.exists() and (trace := simfl.Trace(path)).complete:
                found.append((seed, trace))
        if found:
            table(variant, found)
            drawn[variant] = [trace for _, trace in found]
    if drawn:
        figure(drawn, args.out / "search.png")


def figure(found: dict[str, list[simfl.Trace]], path: Path) -> None:
    """Parameters left round by round, a line for each seed."""
    drawn, axes = plt.subplots(
        1, len(found), figsize=(10, 4), sharey=True, layout="constrained", squeeze=False
    )
    for axis, (variant, traces) in zip(axes[0], found.items(), strict=True):
        for trace in traces:
            axis.plot(sizes(trace), linewidth=0.8)
        axis.axhline(PAPER, color="k", linestyle="--", label=f"Table 1: {PAPER:,}")
        axis.axhline(LOGGED, color="k", linestyle=":", label=f"public log: {LOGGED:,}")
        axis.set(title=f"weights: {variant}, {len(traces)} seeds", xlabel="round", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("parameters left")
    axes[0][-1].legend(fontsize="small")
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def table(variant: str, found: list[tuple[int, simfl.Trace]]) -> None:
    """Of one variant."""
    print(
        f"\n{variant}: seed, parameters left (paper {PAPER:,}), rounds of search, times less bytes"
    )
    left, saved = [], []
    for seed, trace in found:
        course = sizes(trace)
        sent = sum(course[:-1][:COMMUNICATION_ROUNDS])
        sent += course[-1] * max(0, COMMUNICATION_ROUNDS - len(course) + 1)
        left.append(course[-1])
        saved.append(COMMUNICATION_ROUNDS * DENSE / sent)
        accuracy = trace.scores["accuracy"].iloc[-1]
        print(
            f"  {seed:3d}  {course[-1]:7,}  {searched(course):4d}  {saved[-1]:5.2f}x"
            f"   accuracy after {len(course) - 1} rounds {accuracy:.3f}"
        )
    print(
        f"  parameters: mean {mean(left):,.0f}, deviation {pstdev(left):,.0f}, median "
        f"{median(left):,.0f}, {min(left):,} to {max(left):,}; bytes of {COMMUNICATION_ROUNDS} "
        f"rounds: {min(saved):.2f}x to {max(saved):.2f}x fewer (the paper says up to 5x, its "
        "logs have 1.6x to 3.3x)"
    )


if __name__ == "__main__":
    main()
