"""Which pruning level, which overlay, which bandwidth: seconds to 95 % on MNIST, in one figure.

Twelve devices (five Pi 3, five Pi 4, two Pixel 3) train LeNet-300-100, pruned before they begin,
around a server (star) or among themselves (tree, ring, G(12, 0.3), complete). Each training is run
once, at 20 Mbit/s; every other bandwidth is a re-timing of its trace.

The dense model cannot be trained on a Pi 3 (PruneFL, Fig. 2, level 0): at level 0 these are Pi 4.

    python analysis/overlay_study.py --data-dir DATA --out runs/overlay_study [--figure FILE.png]
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Final

import matplotlib.pyplot as plt
import pandas as pd
from runs import arguments, made

import simfl

LEVELS: Final = (0, 5, 10, 15, 20)
OVERLAYS: Final = {
    "star": ("overlay_study_star", "{name: star}"),
    "tree": ("overlay_study", "{name: tree}"),
    "ring": ("overlay_study", "{name: ring}"),
    "G(12, 0.3)": ("overlay_study", "{name: random_graph, probability: 0.3}"),
    "complete": ("overlay_study", "{name: complete}"),
}
RATES: Final = ("2 Mbit/s", "20 Mbit/s", "200 Mbit/s")
TARGET: Final = 0.95


def trained(level: int, overlay: str, folder: Path, data_dir: Path | None) -> simfl.Trace:
    """The one training of a level on an overlay."""
    scenario, topology = OVERLAYS[overlay]
    out = folder / f"{overlay.split('(')[0]}-{level}.h5"
    changes = [f"learning.algorithm.level={level}", f"topology={topology}"]
    if level == 0:
        changes.append("platform.devices.pi3.model=pi4")
    return made(scenario, changes, out, data_dir=data_dir, executor="inline", store=False)


def timed(trace: simfl.Trace) -> list[tuple[str, float, int, int]]:
    """By bandwidth: seconds to the target, bytes sent, turns that had to be trained anew."""
    rows = []
    for rate in RATES:
        keys = (f"platform.network.down={rate}", f"platform.network.up={rate}")
        [row] = simfl.whatif(trace, *keys).to_dict("records")
        sent = row["down_bytes"] + row["up_bytes"]
        rows.append((rate, row["target_s"], sent, row["anew"]))
    return rows


def study(folder: Path, data_dir: Path | None, levels: tuple[int, ...]) -> pd.DataFrame:
    """One row per level, overlay and bandwidth; printed as they come."""
    rows = []
    for level in levels:
        for overlay in OVERLAYS:
            trace = trained(level, overlay, folder, data_dir)
            best = trace.curve["accuracy"].max()
            for rate, target_s, nbytes, anew in timed(trace):
                rows.append((level, overlay, rate, target_s, nbytes, anew, best))
                print(
                    f"level {level:2d}  {overlay:10s}  {rate:>10s}  {target_s:9.1f} s  "
                    f"{nbytes / 2**20:8.1f} MiB  best {best:.4f}  anew {anew}",
                    flush=True,
                )
    names = ["level", "overlay", "rate", "target_s", "nbytes", "anew", "best"]
    return pd.DataFrame(rows, columns=names)


def draw(table: pd.DataFrame, path: Path) -> None:
    """A panel per bandwidth: seconds against level, a line per overlay."""
    figure, panels = plt.subplots(1, len(RATES), figsize=(12, 4.2), sharey=True)
    reached = table[table["target_s"] < inf]
    for panel, rate in zip(panels, RATES, strict=True):
        for overlay, mark in zip(OVERLAYS, "o^sDv", strict=True):
            line = reached[(reached["rate"] == rate) & (reached["overlay"] == overlay)]
            panel.plot(line["level"], line["target_s"], marker=mark, label=overlay)
        panel.set(title=rate, xlabel="pruning level", yscale="log", xticks=LEVELS)
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel(f"simulated seconds to {TARGET:.0%}")
    panels[-1].legend(frameon=False)
    figure.suptitle("LeNet-300-100 on MNIST, 12 devices; level 0 with Pi 4 in place of Pi 3")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    """Train what is missing, re-time, print, draw."""
    parser = arguments(__doc__, "runs/overlay_study")
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS))
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    table = study(given.out, given.data_dir, tuple(given.levels))
    table.to_csv(given.out / "overlay_study.csv", index=False)
    if given.figure:
        draw(table, given.figure)


if __name__ == "__main__":
    main()
