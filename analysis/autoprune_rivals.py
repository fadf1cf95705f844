"""AutoPrune and its seven rivals on one network, split, optimiser and clock: one table, one figure.

    python analysis/autoprune_rivals.py --data-dir DIR [--only feddst,flash]     # minutes each
    python analysis/autoprune_rivals.py                          # reads the traces in --out

Nguyen et al. 2025, Table 2, compares systems by their public code: networks from 0.06 to 6.6
million parameters, other splits and optimisers, two accuracies of another kind. Here all train
AutoPrune's Conv (56,126 parameters) on FEMNIST's writers, 10 of 101 a round, 200 rounds of one
local epoch in batches of 32, by Adam at 0.01 (the best of 0.001, 0.003 and 0.01 for FedAvg after 50
rounds; FedPM's scores at 0.1, as in its public code). Who prunes to a given size prunes to
AutoPrune's in the paper, 30 % of the weights. Messages are encoded by `values_only`, with bitmaps
where masks are news. Accuracy is the global model's on the test set, also of LotteryFL; its models
are personal, and `lotteryfl-personal` is the mean of twenty clients' own, each on the test samples
of the classes that the client holds. Seconds are of 10 Pixel 3 a round behind LTE, and timed again
on Raspberry Pi 4: the same training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from runs import arguments, complete, made

import simfl

mpl.use("Agg")
from matplotlib import pyplot as plt

SPARSITY = 0.7
TARGETS = (0.3, 0.4)
PI4 = "platform.devices={server: {model: g3s_xlarge}, pi4: {model: pi4, count: 101}}"


@dataclass(frozen=True, slots=True)
class System:
    """One row.

    Attributes:
        algorithm: the scenario's.
        paper: Table 2, not comparable: see above.
        changes: other settings.
    """

    algorithm: str
    paper: float | None = None
    changes: tuple[str, ...] = ()


SYSTEMS = {
    "fedavg": System("fedavg"),
    "autoprune": System("autoprune, k: 2.2, weights: keep", 74.22),
    "autoprune-reinit": System("autoprune, k: 2.2, weights: reinit", 74.22),
    "lotteryfl": System("lotteryfl, target: 0.3, evaluate: global", 58.69),
    "lotteryfl-personal": System("lotteryfl, target: 0.3", 58.69),
    "fedpm": System("fedpm", 61.29, ("learning.local.learning_rate=0.1",)),
    "fedpara": System("fedpara, ratio: 0.3, ratio_of: parameters", 65.52),
    "prunefl": System(
        "prunefl_adaptive, server_samples: 100, server_passes: 100, server_every: 10, "
        "matrices: masked",
        57.09,
    ),
    "flash": System("flash, variant: spdst, density: 0.3", 65.39),
    "feddst": System(f"feddst, sparsity: {SPARSITY}, horizon: 100", 52.34),
    "feddst+prox": System(
        f"feddst, sparsity: {SPARSITY}, horizon: 100",
        52.94,
        ("learning.objective=[{name: proximal, mu: 0.01}]",),
    ),
}


def trained(
    name: str, out: Path, data_dir: Path | None, *, rounds: int, epochs: int, **host: Any
) -> simfl.Trace | None:
    """One system: made, if there are data, and otherwise what is complete in that folder."""
    path, system = out / f"{name}.h5", SYSTEMS[name]
    if data_dir is None:
        return complete(path)
    changes = [
        f"learning.algorithm={{name: {system.algorithm}}}",
        "learning.local.learning_rate=0.01",
        f"learning.local.epochs={epochs}",
        f"protocol.rounds={rounds}",
        "codec={name: values_only}",
        "record.evaluate_every=5",
        *system.changes,
    ]
    return made("autoprune_femnist", changes, path, data_dir=data_dir, **host)


def row(name: str, trace: simfl.Trace) -> dict[str, object]:
    """What one system needed."""
    scores, sent = trace.scores, trace.transfers
    down = sent["source"] == "server"
    slow = simfl.whatif(trace.path, PI4)
    assert not slow["anew"].any()
    found: dict[str, object] = {
        "system": name,
        "accuracy": 100 * scores["accuracy"].tail(5).mean(),
        "best": 100 * scores["accuracy"].max(),
        "paper": SYSTEMS[name].paper,
        "stored": int(scores["nonzero"].iloc[-1]),
        "down_MiB": sent["nbytes"][down].sum() / 2**20,
        "up_MiB": sent["nbytes"][~down].sum() / 2**20,
        "phones_s": trace.activities["end_s"].max(),
        "pi4_s": slow["time_s"].iloc[0],
    }
    for target in TARGETS:
        found[f"to_{target:.0%}_s"] = trace.time_to_accuracy(target)
        nbytes = (scores["down_bytes"] + scores["up_bytes"])[scores["accuracy"] >= target]
        found[f"to_{target:.0%}_MiB"] = nbytes.min() / 2**20
    return found


def figure(found: dict[str, simfl.Trace], path: Path) -> None:
    """Accuracy against simulated seconds, and against bytes."""
    drawn, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
    for name, trace in found.items():
        scores = trace.scores
        nbytes = (scores["down_bytes"] + scores["up_bytes"]) / 2**20
        axes[0].plot(scores["time_s"], scores["accuracy"], label=name)
        axes[1].plot(nbytes, scores["accuracy"], label=name)
    axes[0].set(xlabel="simulated seconds, 10 Pixel 3 a round behind LTE", ylabel="test accuracy")
    axes[1].set(xlabel="MiB sent, down and up", xscale="log")
    axes[1].legend(fontsize="small")
    for axis in axes:
        axis.grid(alpha=0.3)
    drawn.savefig(path, dpi=120)


def main() -> None:
    """Run what is missing, print the table, draw the figure."""
    parser = arguments(__doc__, "runs/rivals")
    parser.add_argument("--only", default=",".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--executor", default="auto")
    args = parser.parse_args()
    how = {"rounds": args.rounds, "epochs": args.epochs, "executor": args.executor}
    found = {}
    for name in args.only.split(","):
        if (trace := trained(name, args.out, args.data_dir, **how)) is not None:
            found[name] = trace
            if args.data_dir:
                print(f"{trace.path} is there", flush=True)
    if found:
        table = pd.DataFrame([row(name, trace) for name, trace in found.items()])
        table.to_csv(args.out / "rivals.csv", index=False)
        print(table.to_string(index=False, float_format=lambda number: f"{number:.2f}"))
        figure(found, args.out / "rivals.png")
        print(f"{args.out / 'rivals.png'} drawn")


if __name__ == "__main__":
    main()
