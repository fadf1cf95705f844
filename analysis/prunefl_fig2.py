"""Fig. 2 of the early PruneFL paper: one federation of LeNet-300-100 on ten Pis, by pruning level.

    python analysis/prunefl_fig2.py [--out runs/prunefl_fig2]

Seconds of computation (the slowest client) and communication (the rest of a federation), and the
message's bytes, for levels 1 to 30 of scenarios/pi_lenet.yaml; by counting, nothing is trained. The
paper's text prints levels 1 and 30, which the Pi 3's figures are fitted on: they show that the
model can hold both, not that it predicts. Writes OUT.csv and OUT.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from simfl.scenario import load
from simfl.simulation import plan

ROOT = Path(__file__).parent.parent
PAPER = {
    1: (1.87, 10.57),
    30: (0.07, 0.48),
}  # level: computation_s, communication_s (section 5.1.1)


def curve() -> pd.DataFrame:
    """One row per level."""
    rows = []
    for level in range(1, 31):
        changes = (f"learning.algorithm.level={level}", "learning.dataset.name=digits")
        _, tape = plan(load(ROOT / "scenarios" / "pi_lenet.yaml", changes))
        rows.append(
            {
                "level": level,
                "computation_s": tape.computation_s,
                "communication_s": tape.communication_s,
                "message_bytes": tape.transfers[0].nbytes,
                "preparation_s": tape.initial.end_s,
            }
        )
    return pd.DataFrame(rows).set_index("level")


def main() -> None:
    """Compute, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/prunefl_fig2"))
    args = parser.parse_args()
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    table = curve()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out.with_suffix(".csv"))
    print(table.round(3).to_string())
    for level, (computation, communication) in PAPER.items():
        row = table.loc[level]
        print(
            f"level {level:2}: computation {row['computation_s'] / computation - 1:+.1%}, "
            f"communication {row['communication_s'] / communication - 1:+.1%} from the paper"
        )
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    total = table["computation_s"] + table["communication_s"]
    left.plot(table.index, total, label="total")
    left.plot(table.index, table["communication_s"], label="communication")
    left.plot(table.index, table["computation_s"], label="computation (Pi 3)")
    for level, (computation, communication) in PAPER.items():
        left.plot([level] * 2, [computation, communication], "kx")
    left.plot([], [], "kx", label="paper's text")
    left.set(xlabel="pruning level", ylabel="seconds per federation", ylim=(0, None))
    left.legend()
    right.plot(table.index, table["message_bytes"] / 2**20)
    right.axhline(1066440 / 2**20, color="grey", linestyle=":", label="dense")
    right.set(xlabel="pruning level", ylabel="message, MiB", ylim=(0, None))
    right.legend()
    figure.savefig(args.out.with_suffix(".png"), dpi=150)
    print(f"{args.out}.csv, {args.out}.png")


if __name__ == "__main__":
    main()
