"""One scenario, six protocols: seconds, bytes and joules to one accuracy, in one figure.

python analysis/protocol_study.py --data-dir DATA --out runs/protocol_study [--figure FILE.png]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
from runs import arguments, made

from simfl.record.summary import summarise

SCENARIO: Final = "protocol_study"
DEVICES: Final = (
    "pi3: {model: pi3, count: 5}, pi4: {model: pi4, count: 5}, "
    "phone: {model: pixel3_assumed, count: 2}"
)
PEERS: Final = (f"platform.devices={{{DEVICES}}}",)
EDGES: Final = (
    "platform.devices={server: {model: g3s_xlarge}, "
    f"edge: {{model: g3s_xlarge, count: 3, role: aggregate}}, {DEVICES}}}",
    "topology={name: star_of_stars, hubs_are: [edge]}",
)
PROTOCOLS: Final[dict[str, tuple[str, ...]]] = {
    "synchronous": (),
    # the round is over with the first seven of twelve (no Pi 3 is among them), or after 15 s
    "deadline": (
        "protocol={name: semi_synchronous, rounds: 120, cohort: 7, over_selection: 1.7, "
        "deadline: 15 s}",
    ),
    "FedBuff": (
        "protocol={name: asynchronous, rounds: 240, buffer: 4}",
        "record.evaluate_every=2",
    ),
    "hierarchical": (*EDGES, "protocol={name: hierarchical, rounds: 40, period: 2}"),
    "ring": (*PEERS, "topology={name: ring}", "protocol={name: neighborhood, rounds: 60}"),
    "gossip": (
        *PEERS,
        "topology={name: complete}",
        "protocol={name: gossip, rounds: 90, period: 10 s}",
        "record.evaluate_every=2",
    ),
}
FIGURES: Final = {"target_s": "seconds", "nbytes": "MiB", "target_joules": "joules"}


def reached(name: str, folder: Path, data_dir: Path | None) -> dict[str, Any]:
    """One protocol's run, or the trace that is there: what it took to the target."""
    out = folder / f"{name}.h5"
    changes = PROTOCOLS[name]
    trace = made(SCENARIO, changes, out, data_dir=data_dir, executor="inline", store=False)
    found, sent = summarise(trace), trace.transfers
    by_then = sent[sent["end_s"] <= found.target_s]
    return {
        "protocol": name,
        "target_s": found.target_s,
        "nbytes": int(by_then["nbytes"].sum()),
        "target_joules": found.target_joules,
        "rounds": found.target_round,
        "best": found.best_accuracy,
        "cut": found.cut_turns,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel each for seconds, bytes and joules."""
    figure, panels = plt.subplots(1, len(FIGURES), figsize=(12, 3.8), sharey=True)
    names = [row["protocol"] for row in rows]
    for panel, (key, unit) in zip(panels, FIGURES.items(), strict=True):
        scale = 2**20 if key == "nbytes" else 1
        bars = panel.barh(names, [row[key] / scale for row in rows], color="#4477aa")
        panel.bar_label(bars, fmt="{:,.0f}", padding=3)
        panel.set(xlabel=f"{unit} to 97 %")
        panel.margins(x=0.22)
        panel.locator_params(axis="x", nbins=4)
    panels[0].invert_yaxis()
    figure.suptitle("LeNet-5 on MNIST; 5 Pi 3, 5 Pi 4, 2 Pixel 3; 20 Mbit/s down, 5 up")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run what is missing, print, draw."""
    parser = arguments(__doc__, "runs/protocol_study")
    parser.add_argument("--only", nargs="+", default=list(PROTOCOLS))
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    rows = []
    for name in given.only:
        row = reached(name, given.out, given.data_dir)
        rows.append(row)
        print(
            f"{name:14s} {row['target_s']:9.1f} s  {row['nbytes'] / 2**20:8.1f} MiB  "
            f"{row['target_joules']:9.0f} J  rounds {row['rounds']}  best {row['best']:.4f}  "
            f"turns cut {row['cut']}",
            flush=True,
        )
    if given.figure:
        draw(rows, given.figure)


if __name__ == "__main__":
    main()
