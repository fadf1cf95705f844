"""Figs. 4, 5 and 8 to 11 of the pruning study in Flower (Jeurkar et al. 2024), beside simfl.

    python analysis/flower_table1.py --data-dir DIR --out runs/flower     # makes the runs
    python analysis/flower_figs.py --out runs/flower [--scenario flower_resnet12]

Reads the traces of `flower_table1.py`, every seed and rate that is there. Nothing is fitted.
Crosses are what the study's notebooks logged, one run each, in flower_logged.csv: the server's
accuracy (history_metrics_centralized) and the mean size that a client sent ("bytes sent") by round,
from "Experimental data/" of the GitHub repository
vaishnavijeurkar/Evaluation-of-Model-Compression-Techniques-in-Federated-Learning-, commit
9d84edc2cae3. Its logs of ResNet12 with LSP and of CIFAR-10 (Figs. 6, 7, 12 to 15) are left out:
there are no runs of ours to stand beside them.

What Figs. 5, 9 and 11 call bytes sent is the mean of a round. Bytes until the accuracy, the last
panel, are of the same logs, and in no figure. The public notebook draws accuracy by round as its
clients found it, on 60 images each, and counts rounds by the server's; here both are the server's.
A run that was not scored after every round, as the title then says, has reached the accuracy by the
round that is shown, and maybe before.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from runs import arguments, complete

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

MIB = 2**20
LOGGED = Path(__file__).with_name("flower_logged.csv")
# accuracy that is counted to, and which figures those are: by round, to the accuracy
TARGETS = {"flower_simplecnn": 0.85, "flower_resnet12": 0.95}
FIGURES = {
    ("flower_simplecnn", "gup"): ("Fig. 8", "Fig. 9"),
    ("flower_simplecnn", "lsp"): ("Fig. 10", "Fig. 11"),
    ("flower_resnet12", "gup"): ("Fig. 4", "Fig. 5"),
}
SHOWN = (0.0, 0.2, 0.5, 0.8, 0.9)
"""Rates whose accuracy is drawn by round; all ten hide one another."""


def course(trace: simfl.Trace) -> pd.DataFrame:
    """By round: the accuracy, where it was evaluated, and the mean bytes that a client sent."""
    sent = trace.transfers
    up = sent[sent["target"] == "server"].groupby("round")["nbytes"].mean()
    accuracy = trace.scores.set_index("round")["accuracy"]
    return pd.DataFrame({"accuracy": accuracy, "up_bytes": up}).reset_index()


def simulated(out: Path, scenario: str, method: str) -> pd.DataFrame:
    """All rates and seeds that are complete in that folder."""
    found = []
    for path in sorted(out.glob(f"{scenario}-{method}-0.[0-9]-[0-9]*.h5")):
        if (trace := complete(path)) is not None:
            rate, seed = path.stem.split("-")[-2:]
            found.append(course(trace).assign(rate=float(rate), seed=int(seed)))
    return pd.concat(found) if found else pd.DataFrame()


def reached(runs: pd.DataFrame, target: float) -> pd.DataFrame:
    """A row for each run: rounds to the accuracy, and MiB; none where it was not reached."""
    rows = []
    for (rate, seed), run in runs.groupby(["rate", "seed"]):
        rounds = run["round"][run["accuracy"] >= target].min()
        by_then = run["up_bytes"][run["round"] <= rounds].sum()
        rows.append(
            {
                "rate": rate,
                "seed": seed,
                "ran": run["round"].max(),
                "rounds": rounds,
                "to_mib": by_then / MIB if rounds == rounds else None,
                "mean_mib": run["up_bytes"].mean() / MIB,
            }
        )
    return pd.DataFrame(rows)


def table(title: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Rounds and MiB to the accuracy, both."""
    print(f"\n{title}: rounds (lowest, highest seed), MiB of a client until then; the study's")
    for rate, some in ours.groupby("rate"):
        [logged] = theirs[theirs["rate"] == rate].to_dict("records")
        never = int(some["rounds"].isna().sum())
        print(
            f"  {rate:.1f}  {some['rounds'].min():4.0f} {some['rounds'].max():4.0f}"
            f"{f'  not reached: {never} of {len(some)}':24s} {some['to_mib'].mean():8.2f}   "
            f"{logged['rounds']:4.0f} {logged['to_mib']:8.2f}"
        )


def by_round(axis: Axes, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """A line for each seed, and the logged points."""
    colours = {rate: f"C{number}" for number, rate in enumerate(SHOWN)}
    for (rate, seed), run in ours.groupby(["rate", "seed"]):
        if rate in colours:
            label = f"{rate:.1f}" if seed == ours["seed"][ours["rate"] == rate].min() else None
            known = run.dropna(subset="accuracy")
            axis.plot(
                known["round"],
                known["accuracy"],
                ".-",
                color=colours[rate],
                linewidth=0.8,
                markersize=2,
                label=label,
            )
    for rate, run in theirs.groupby("rate"):
        if rate in colours and rate in set(ours["rate"]):
            axis.plot(run["round"], run["accuracy"], "x", color=colours[rate], markersize=4)


def beside(axis: Axes, ours: pd.DataFrame, theirs: pd.DataFrame, what: str) -> None:
    """A point for each seed by rate, and the logged one; at the top those that got nowhere."""
    both = pd.concat([ours[what], theirs[what]])
    top = 1.12 * both.max()
    for runs, style, size in ((ours, "C0o", 5), (theirs, "kx", 7)):
        axis.plot(runs["rate"], runs[what].fillna(top), style, alpha=0.7, markersize=size)
    if both.isna().any():
        axis.axhline(top, color="k", linewidth=0.5, linestyle=":")
        axis.annotate("not within the run", (0, top), va="bottom", fontsize="x-small")
    axis.set(xlabel="pruning rate", ylim=(0, 1.08 * top))


def main() -> None:
    """Print and draw what is there."""
    parser = arguments(__doc__, "runs/flower")
    parser.add_argument("--scenario", default="flower_simplecnn", choices=TARGETS)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    logged, target = pd.read_csv(LOGGED).assign(seed=0), TARGETS[args.scenario]
    found = {
        method: runs
        for scenario, method in FIGURES
        if scenario == args.scenario and len(runs := simulated(args.out, scenario, method))
    }
    drawn, rows = plt.subplots(
        len(found), 4, figsize=(15, 3.6 * len(found)), layout="constrained", squeeze=False
    )
    short = ""
    for (left, *others), (method, ours) in zip(rows, found.items(), strict=True):
        theirs = logged[(logged["scenario"] == args.scenario) & (logged["method"] == method)]
        first, second = FIGURES[args.scenario, method]
        by_round(left, ours, theirs)
        left.set(title=f"{first}: {method}", xlabel="round", ylabel="accuracy", ylim=(0, 1))
        left.legend(fontsize="small", title="rate", loc="center left", bbox_to_anchor=(1, 0.5))
        counted = reached(ours, target), reached(theirs, target)
        table(f"{second}, {method}, to {target:.0%}", *counted)
        titles = (f"{second}: rounds to {target:.0%}", f"{second}: MiB a client and round")
        titles += (f"MiB a client until {target:.0%}",)
        for axis, what, title in zip(others, ("rounds", "mean_mib", "to_mib"), titles, strict=True):
            beside(axis, *counted, what)
            axis.set_title(title)
        if counted[0]["ran"].max() < counted[1]["ran"].max():
            scored = sorted(set(ours.dropna(subset="accuracy")["round"]))
            short = f", {counted[0]['ran'].max()} rounds of {counted[1]['ran'].max()}"
            short += f", scored after {', '.join(map(str, scored[1:]))} only"
        for axis in (left, *others):
            axis.grid(alpha=0.3)
    drawn.suptitle(f"{args.scenario}{short}: simfl (lines, dots; all seeds) and logged (crosses)")
    path = args.figure or args.out / f"{args.scenario}_figs.png"
    drawn.savefig(path, dpi=100)
    print(f"\n{path} drawn")


if __name__ == "__main__":
    main()
