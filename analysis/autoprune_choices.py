"""AutoPrune's Figs. 7 and 8: what is left, by clients a round, and by k.

    python analysis/autoprune_choices.py --data-dir DIR --out DIR   # half an hour of a core
    python analysis/autoprune_choices.py --out DIR                  # reads what is there

Nguyen et al. 2025, section 4.4 (5, 10 and 50 clients a round; Conv, ResNet and Inception; ten runs
each) and 4.5 (Conv; k of 2, 2.5 and 3), FEMNIST. Here: Conv and ResNet, searches of 50 rounds with
one local epoch, where the paper has five; 101 writers for 3,400. The traces are those of
`autoprune_search.py --epochs 1`, whose seeds of k = 2.2 and 10 clients are taken as they are.

Nothing is fitted. A search ends when nothing went for three rounds. Crosses are what text, Table 1
and the public logs print; the figures' own bars nobody has read off. Of 2.2 and 10 clients there
may be more seeds than ``--seeds``: all are drawn.
Fig. 8's accuracies are left out: ours would be of 50 rounds in which the network still changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import mean

import matplotlib as mpl
from autoprune_search import DENSE, LOGGED, PAPER, VARIANTS, Search, searched, sizes
from runs import arguments

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COHORTS = (5, 10, 50)
KS = (2.0, 2.2, 2.5, 3.0)
USUAL_K = {"conv": 2.2, "resnet": 2.5}
"""The public code's."""
SEEDS_AT_MOST = 10
DENSE_OF = {"conv": DENSE, "resnet": 33_214}
"""Table 1, like the next."""
PRUNED = {"conv": PAPER, "resnet": 5_668}
LOGGED_COHORT = 50
"""Of the public log of Conv; Table 1's is not said."""


def cases(seeds: int) -> Iterator[Search]:
    """What Figs. 7 and 8 need, the first seed of all before the second of any."""
    for seed in range(1, seeds + 1):
        for variant in VARIANTS:
            for k in KS:
                yield Search(variant=variant, seed=seed, k=k)
            for network, cohort in product(USUAL_K, COHORTS):
                k = USUAL_K[network]
                yield Search(variant=variant, seed=seed, k=k, cohort=cohort, network=network)


def left(
    out: Path, variant: str, k: float, cohort: int = 10, network: str = "conv"
) -> list[simfl.Trace]:
    """The complete searches of all seeds."""
    every = (
        Search(variant=variant, seed=seed, k=k, cohort=cohort, network=network)
        for seed in range(1, SEEDS_AT_MOST + 1)
    )
    found = (search.trace(out, None, rounds=0, epochs=0) for search in every)
    return [trace for trace in found if trace is not None]


def bars(axis: Axes, found: dict[str, dict[float, list[int]]], names: Sequence[float]) -> None:
    """A bar of the mean for each name and variant, and a point for each seed."""
    for number, (variant, by_name) in enumerate(found.items()):
        at = [place + 0.4 * (number - 0.5) for place in range(len(names))]
        means = [mean(by_name[name]) if by_name[name] else 0 for name in names]
        axis.bar(at, means, width=0.36, alpha=0.5, label=f"simfl, {variant}, mean")
        for place, name in zip(at, names, strict=True):
            some = by_name[name]
            axis.plot([place] * len(some), some, "k.", markersize=4)
            axis.annotate(f"{len(some)}", (place, 0), ha="center", va="bottom", fontsize="x-small")
    axis.set_xticks(range(len(names)), [f"{name:g}" for name in names])
    axis.grid(alpha=0.3, axis="y")


def table(title: str, found: dict[str, dict[float, list[simfl.Trace]]]) -> None:
    """A line for each name and variant."""
    print(f"\n{title}")
    print("  variant       at  seeds  parameters left: mean, lowest, highest   search ends")
    for variant, by_name in found.items():
        for name, traces in by_name.items():
            if not traces:
                continue
            courses = [sizes(trace) for trace in traces]
            some = [course[-1] for course in courses]
            ends = sorted(searched(course) for course in courses)
            print(
                f"  {variant:8s} {name:7g}  {len(some):5d}  {mean(some):11,.0f}  {min(some):8,}  "
                f"{max(some):8,}   after {ends[0]} to {ends[-1]} rounds"
            )


def main() -> None:
    """Search what is missing, print, draw."""
    parser = arguments(__doc__, "runs/autoprune")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--executor", default="auto")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if args.data_dir:
        for search in cases(args.seeds):
            how = {"rounds": args.rounds, "epochs": args.epochs, "executor": args.executor}
            search.trace(args.out, args.data_dir, **how)
            print(f"{args.out / search.name} is there", flush=True)

    by_k = {variant: {k: left(args.out, variant, k) for k in KS} for variant in VARIANTS}
    table("Fig. 8: k, Conv, 10 clients a round", by_k)
    by_cohort = {
        network: {
            variant: {cohort: left(args.out, variant, k, cohort, network) for cohort in COHORTS}
            for variant in VARIANTS
        }
        for network, k in USUAL_K.items()
    }
    for network, found in by_cohort.items():
        table(f"Fig. 7: clients a round, {network}, k = {USUAL_K[network]:g}", found)
    figure(by_k, by_cohort, args.figure or args.out / "choices.png")


def figure(
    by_k: dict[str, dict[float, list[simfl.Trace]]],
    by_cohort: dict[str, dict[str, dict[float, list[simfl.Trace]]]],
    path: Path,
) -> None:
    """Fig. 8, and of Fig. 7 a panel for each network."""
    drawn, panels = plt.subplots(1, 1 + len(by_cohort), figsize=(14, 4.2), layout="constrained")
    bars(panels[0], last(by_k), KS)
    panels[0].axhline(
        DENSE, color="k", linestyle="--", label='dense; text: k = 3 "nearly the same"'
    )
    panels[0].plot(KS.index(2.2), PAPER, "kx", markersize=9, label="Table 1")
    panels[0].plot(KS.index(2.2), LOGGED, "k+", markersize=10, label="public log, 50 clients")
    panels[0].set(title="Fig. 8: Conv, 10 clients a round", xlabel="k", ylabel="parameters left")
    for panel, (network, found) in zip(panels[1:], by_cohort.items(), strict=True):
        bars(panel, last(found), COHORTS)
        panel.axhline(DENSE_OF[network], color="k", linestyle="--", label="dense")
        panel.axhline(PRUNED[network], color="k", linestyle=":", label="Table 1, clients not said")
        if network == "conv":
            at = COHORTS.index(LOGGED_COHORT)
            panel.plot(at, LOGGED, "k+", markersize=10, label="public log")
        panel.set(title=f"Fig. 7: {network}, k = {USUAL_K[network]:g}", xlabel="clients a round")
    for panel in panels:
        panel.margins(y=0.45)
        panel.legend(fontsize="x-small", loc="upper left")
    drawn.suptitle(
        "Searches of 50 rounds with one local epoch (the paper: five); in the bars: seeds"
    )
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def last(
    found: dict[str, dict[float, list[simfl.Trace]]],
) -> dict[str, dict[float, list[int]]]:
    """Parameters at the end of each search."""
    return {
        variant: {name: [sizes(trace)[-1] for trace in traces] for name, traces in by_name.items()}
        for variant, by_name in found.items()
    }


if __name__ == "__main__":
    main()
