"""Stage 1 of AutoPrune on FEMNIST, over seeds: which network is left, and what it saves.

    python analysis/autoprune_search.py --data-dir DIR [--seeds 10] [--rounds 50] [--epochs 5]
    python analysis/autoprune_search.py                # reads the traces in --out

Nguyen et al. 2025, Table 1 (Conv, k = 2.2) and Fig. 6, on the 101 writers of our sample with 20
training images and more, where the paper has 3,400. Both variants: the remaining filters ``keep``
their weights, as in Algorithm 1, or the smaller network is drawn anew, as in the public code.
Communication is of 100 rounds, 10 clients a round, both ways: after the search each round has the
same bytes, so rounds that were not run are counted on. Draws OUT/search.png.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any

import matplotlib as mpl
from runs import arguments, complete, made

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

PAPER = 16_683
LOGGED = 21_488
"""In the public log, which draws the smaller network anew."""
DENSE = 56_126
COMMUNICATION_ROUNDS = 100
SAID = 5.0
"""Times less bytes, "up to" which Fig. 6's text says for Conv and Inception."""
LOGGED_LESS = {"FEMNIST Inception": 1.99, "CelebA ResNet": 3.31, "CelebA Inception": 1.75}
"""Times less bytes, from the sizes that the public code logged round by round; none of FEMNIST's
Conv, whose log has its last size alone."""
VARIANTS = ("keep", "reinit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What tells one search from another.

    Attributes:
        variant: ``keep`` the weights of what is left, or draw it anew (``reinit``).
        k: deviations from the mean beyond which a filter goes.
        cohort: clients of a round.
        network: the model without ``autoprune_``.
    """

    variant: str
    seed: int
    k: float = 2.2
    cohort: int = 10
    network: str = "conv"

    @property
    def name(self) -> str:
        """Of its trace: without what is as usual."""
        usual = {field.name: field.default for field in fields(self)}
        network = "" if self.network == usual["network"] else f"{self.network}-"
        cohort = "" if self.cohort == usual["cohort"] else f"-c{self.cohort}"
        return f"search-{network}{self.variant}-k{self.k:g}{cohort}-{self.seed}.h5"

    def trace(
        self, out: Path, data_dir: Path | None, *, rounds: int, epochs: int, **host: Any
    ) -> simfl.Trace | None:
        """Made, if there are data, and otherwise what is complete in that folder."""
        if data_dir is None:
            return complete(out / self.name)
        changes = (
            f"seed={self.seed}",
            f"learning.model={{name: autoprune_{self.network}}}",
            f"learning.algorithm.weights={self.variant}",
            f"learning.algorithm.k={self.k}",
            f"learning.local.epochs={epochs}",
            f"protocol.cohort={self.cohort}",
            f"protocol.rounds={rounds}",
            f"record.evaluate_every={rounds}",
        )
        return made("autoprune_femnist", changes, out / self.name, data_dir=data_dir, **host)


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


def times_less(course: list[int], dense: int = DENSE) -> float:
    """The dense network's bytes of 100 rounds over the search's, whose last size goes on."""
    sent = sum(course[:-1][:COMMUNICATION_ROUNDS])
    sent += course[-1] * max(0, COMMUNICATION_ROUNDS - len(course) + 1)
    return COMMUNICATION_ROUNDS * dense / sent


def main() -> None:
    """Run what is missing, print the table."""
    parser = arguments(__doc__, "runs/autoprune")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--k", type=float, default=2.2)
    parser.add_argument("--executor", default="auto")
    args = parser.parse_args()
    how = {"rounds": args.rounds, "epochs": args.epochs, "executor": args.executor}
    drawn = {}
    for variant in args.variants.split(","):
        found = []
        for seed in range(1, args.seeds + 1):
            search = Search(variant=variant, seed=seed, k=args.k)
            if (trace := search.trace(args.out, args.data_dir, **how)) is not None:
                found.append((seed, trace))
        if found:
            table(variant, found)
            drawn[variant] = [sizes(trace) for _, trace in found]
    if drawn:
        figure(drawn, args.out / "search.png")


def figure(found: dict[str, list[list[int]]], path: Path) -> None:
    """Parameters left round by round, a line for each seed; bytes of 100 rounds, a point each."""
    drawn, axes = plt.subplots(
        1, len(found) + 1, figsize=(13, 4), layout="constrained", squeeze=False
    )
    for axis, (variant, courses) in zip(axes[0], found.items(), strict=False):
        for course in courses:
            axis.plot(course, linewidth=0.8)
        axis.axhline(PAPER, color="k", linestyle="--", label=f"Table 1: {PAPER:,}")
        axis.axhline(LOGGED, color="k", linestyle=":", label=f"public log: {LOGGED:,}")
        axis.set(title=f"weights: {variant}, {len(courses)} seeds", xlabel="round")
        axis.set_ylim(0, 1.04 * DENSE)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("parameters left")
    axes[0][0].legend(fontsize="small")
    communication(axes[0][-1], found)
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def communication(axis: Axes, found: dict[str, list[list[int]]]) -> None:
    """Fig. 6: how many times less bytes, beside what is printed and logged of it."""
    for row, (variant, courses) in enumerate(found.items()):
        less = [times_less(course) for course in courses]
        axis.plot(less, [row] * len(less), "o", alpha=0.6, label=f"simfl, {variant}, Conv")
    axis.plot(SAID, len(found), "kx", markersize=9)
    axis.plot(list(LOGGED_LESS.values()), [len(found) + 1 + n for n in range(3)], "kx")
    names = [*found, 'text: "up to"', *(f"log: {name}" for name in LOGGED_LESS)]
    axis.set_yticks(range(len(names)), names)
    axis.set(title=f"Fig. 6: bytes of {COMMUNICATION_ROUNDS} rounds", xlabel="times less bytes")
    axis.set_xlim(1, SAID * 1.05)
    axis.invert_yaxis()
    axis.grid(alpha=0.3)


def table(variant: str, found: list[tuple[int, simfl.Trace]]) -> None:
    """Of one variant."""
    print(
        f"\n{variant}: seed, parameters left (paper {PAPER:,}), rounds of search, times less bytes"
    )
    left, saved = [], []
    for seed, trace in found:
        course = sizes(trace)
        left.append(course[-1])
        saved.append(times_less(course))
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
