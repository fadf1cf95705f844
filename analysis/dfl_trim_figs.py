"""DFL-Trim (Pinto et al. 2025), Figures 1 to 3: accuracy, inference time and size by pruning rate.

ResNet-18 (torchvision's stem) at 32 x 32 on 12 peers, in a ring and in a G(12, 0.3); GUP, LUP and
LSP at rates 0.2 to 0.8, and no pruning. Bytes, seconds and inference times are those of the whole
network; what is shortened for a machine without a GPU is the learning: so few images of CIFAR-10
and so few rounds that its accuracies say little, and stand beside the paper's for their order only.

Beside the figures, section IV: bytes against O(k I M), and how long it takes until every peer has
something of one peer's data against O(d), d the diameter.

    python analysis/dfl_trim_figs.py --data-dir DATA --out runs/dfl_trim [--figure FILE.png]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
from runs import arguments, made

import simfl
from simfl.assembly import check
from simfl.datafolder import locate

RATES: Final = (0.2, 0.4, 0.6, 0.8)
METHODS: Final = ("gup", "lup", "lsp")
TOPOLOGIES: Final = {"ring": "{name: ring}", "G(12, 0.3)": "{name: random_graph, probability: 0.3}"}


def subset(data_dir: Path | None, folder: Path, train: int, test: int) -> Path:
    """Some of CIFAR-10, drawn once, as an archive of one's own."""
    path = folder / f"cifar10-{train}-{test}.npz"
    if path.exists():
        return path
    scenario = simfl.load("dfl_trim")
    data = locate(scenario.learning.dataset, data_dir, scenario.folder).dataset
    draw = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        images = getattr(data, f"{part}_images").numpy()
        labels = getattr(data, f"{part}_labels").numpy()
        some = draw.choice(len(labels), count, replace=False)
        if images.shape[1] == 3:
            images = images.transpose(0, 2, 3, 1)
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = images[some], labels[some]
    np.savez(path, **arrays)
    return path


def ran(
    topology: str, method: str | None, rate: float, data: Path, rounds: int, pretrain: int
) -> simfl.Trace:
    """One run, or its trace where it is there."""
    out = data.parent / f"{topology.split('(')[0]}-{method or 'dense'}-{rate}.h5"
    samples = f"pretrain_epochs: {pretrain}, pretrain_samples: 100"
    algorithm = f"{{name: dfl_trim, method: {method or 'gup'}, rate: {rate}, {samples}}}"
    changes = [
        f"learning.dataset={{name: npz, file: {data.resolve()}, partition: "
        "{name: transformed_copies, server_share: 0.5, of: all}}",
        f"learning.algorithm={algorithm}",
        "learning.local.batch_size=25",
        f"topology={TOPOLOGIES[topology]}",
        f"protocol.rounds={rounds}",
        f"record.evaluate_every={rounds}",
    ]
    return made("dfl_trim", changes, out, data_dir=None, executor="inline", store=False)


def spread_of(trace: simfl.Trace, source: str) -> tuple[int, float]:
    """Rounds, and seconds, until every peer has something of what one peer has learnt."""
    sent, mixes = trace.transfers, trace.activities.query("verb == 'mix'")
    heard = {source: 0}
    for number in range(1, int(sent["round"].max()) + 1):
        pairs = sent[sent["round"] == number][["source", "target"]].itertuples(index=False)
        new = {t for s, t in pairs if heard.get(s, number) < number and t not in heard}
        heard |= dict.fromkeys(new, number)
    if len(heard) < len(trace.peers):
        return -1, float("nan")
    last = max(heard.values())
    return last, float(mixes[mixes["round"] == last]["end_s"].max())


def row_of(topology: str, method: str | None, rate: float, trace: simfl.Trace) -> dict[str, Any]:
    """What the figures show of one run."""
    sent = trace.transfers
    rounds = int(trace.rounds["round"].max())
    ends = trace.rounds.set_index("round")["end_s"]
    training = trace.activities.query("verb == 'train'")
    computing_s = (training["end_s"] - training["start_s"]).mean()
    return {
        "topology": topology,
        "method": method or "dense",
        "rate": rate if method else 0.0,
        "accuracy": float(trace.curve["accuracy"].iloc[-1]),
        "message_bytes": int(sent["nbytes"].iloc[-1]),
        "bytes_per_node_round": float(sent["nbytes"].sum() / len(trace.peers) / rounds),
        "network_s": float((ends[rounds] - ends[0]) / rounds - computing_s),
        "inference_pi4_s": simfl.inference_time(trace, "pi4").latency_s,
        "inference_rtx_3090_s": simfl.inference_time(trace, "rtx_3090").latency_s,
        "inference_csr_pi4_s": simfl.inference_time(trace, "pi4", storage="coo").latency_s,
    }


def draw(table: pd.DataFrame, path: Path) -> None:
    """The three figures side by side, and the bytes that nobody drew."""
    figure, panels = plt.subplots(1, 4, figsize=(15, 3.8))
    shown = {
        "accuracy": ("accuracy (shortened: see the page)", 1.0),
        "inference_pi4_s": ("inference on a Pi 4, ms", 1e3),
        "message_bytes": ("message, MB", 1e-6),
        "bytes_per_node_round": ("MB a node and round", 1e-6),
    }
    for panel, (key, (label, scale)) in zip(panels, shown.items(), strict=True):
        for topology, style in zip(TOPOLOGIES, ("-", "--"), strict=True):
            for method, mark in zip(METHODS, "o^s", strict=True):
                line = table[
                    table["topology"].eq(topology) & table["method"].isin((method, "dense"))
                ]
                line = line.sort_values("rate")
                name = f"{method.upper()}, {topology}"
                panel.plot(line["rate"], scale * line[key], style, marker=mark, label=name)
        panel.set(xlabel="pruning rate", title=label)
        panel.grid(alpha=0.3)
    panels[-1].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run what is missing, print, draw."""
    parser = arguments(__doc__, "runs/dfl_trim")
    parser.add_argument("--train", type=int, default=300, help="images; half are the server's")
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pretrain", type=int, default=4, help="epochs on 100 images")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = subset(given.data_dir, given.out, given.train, given.test)
    cases = [(None, 0.0), *((method, rate) for method in given.methods for rate in given.rates)]
    rows = []
    for method, rate in cases:
        for topology in TOPOLOGIES:
            trace = ran(topology, method, rate, data, given.rounds, given.pretrain)
            row = row_of(topology, method, rate, trace)
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(given.out / "dfl_trim.csv", index=False)
    dense = table[table["method"] == "dense"].set_index("topology")["bytes_per_node_round"]
    ring, graph = (simfl.load("dfl_trim", [f"topology={t}"]) for t in TOPOLOGIES.values())
    overlays = {name: check(s).overlay for name, s in zip(TOPOLOGIES, (ring, graph), strict=True)}
    for name, overlay in overlays.items():
        degree = 2 * overlay.number_of_edges() / overlay.number_of_nodes()
        trace = ran(name, None, 0.0, data, given.rounds, given.pretrain)
        message = int(trace.transfers["nbytes"].iloc[0])
        print(
            f"{name}: mean degree {degree:.3f}, diameter {nx.diameter(overlay)}; a node sends "
            f"{dense[name]:,.0f} B a round = {dense[name] / (degree * message):.6f} k M"
        )
    print(f"G(12, 0.3) sends {dense['G(12, 0.3)'] / dense['ring']:.3f} x the ring's bytes")
    if given.figure:
        draw(table, given.figure)


if __name__ == "__main__":
    main()
