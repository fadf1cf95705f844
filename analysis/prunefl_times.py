"""Times and bytes in the early PruneFL paper (Jiang et al. 2019), by pruning level.

    python analysis/prunefl_times.py [--out runs/prunefl_times] [--figure FILE.png]

Figs. 2, 3, 7, 8, 11, 12, and a federation of Fig. 17's VGG-11; all by counting, nothing is trained.
A federation is scenarios/pi_lenet.yaml's with the network and clients of a figure (those of
prunefl_experiments.py): computation is the slowest client's, communication the rest.

Crosses are what the text prints. Used, for the Pis' figures: both points of Fig. 2, of Fig. 11
those of levels 1 and 30, all of Fig. 12. Predicted: the rest, and so all of Figs. 3, 7, 8 and 17,
of which no value is printed. Fig. 11's largest message is level 2's in the text, level 1's by
counting. Assumed of Fig. 3: the 10,000 samples are one batch, pruned layers are held as in
training; the Pis' forward pass is a third of a training step.

Prints a line a level, then what the text claims beside what was found; writes OUT.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from prunefl_accuracy import claim
from prunefl_experiments import SCENARIO, SETTINGS

import simfl
from simfl.datafolder import Located
from simfl.datasets.base import RecordedDataset
from simfl.errors import SimflError
from simfl.inference import Network, answered, network_of
from simfl.simulation import plan
from simfl.work import Manifest, Storage

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

MIB = 2**20
LEVELS = range(31)
SAMPLES = 10_000  # Fig. 3
# name in the paper, classes, shape of a sample, samples to train on and to test
NETWORKS = {
    "lenet": ("LeNet-300-100", "mnist", 10, (1, 28, 28), 60_000, 10_000),
    "fashion": ("Conv-FashionMNIST", "fashion_mnist", 10, (1, 28, 28), 60_000, 10_000),
    # 193 writers (section 5.3): 35,948 images, of which 389 are the server's
    "femnist": ("Conv-FEMNIST", "femnist", 62, (1, 28, 28), 35_559, 4_090),
    "vgg": ("VGG-11", "cifar10", 10, (3, 32, 32), 50_000, 10_000),
}
# level: seconds of computation and of communication, MiB of a message; of Figs. 2, 11 and 12
PAPER = {
    "lenet": {1: (1.87, 10.57, None), 30: (0.07, 0.48, None)},
    "femnist": {0: (5.68, 24.34, 10.53), 1: (13.65, 39.15, 16.62), 30: (3.97, 1.54, 0.44)},
}
SPEEDUP = 4.52  # section 5.3.2: Conv-FEMNIST, a federation of level 0 over one of level 20


def federation(name: str, level: int) -> dict[str, Any] | None:
    """One federation of a network at a level; None where a device cannot hold it."""
    _, dataset, classes, shape, train, test = NETWORKS[name]
    facts = {
        "name": dataset,
        "classes": classes,
        "sample_shape": shape,
        "train_samples": train,
        "test_samples": test,
        "digest": "only counted",
    }
    located = Located(dataset=RecordedDataset(facts), asked=dataset, folder="")
    changes = (*SETTINGS[name].changes, f"learning.algorithm.level={level}")
    # the messages' samples are not needed, and their writers are not known without images
    changes += ("learning.algorithm.sample_choice=random",)
    try:
        parts, tape = plan(simfl.load(SCENARIO, changes), located=located)
    except SimflError as error:
        print(f"{name}, level {level}: {error}")
        return None
    counts = parts.algorithm.counts_at(level)
    return {
        "network": name,
        "level": level,
        "computation_s": tape.computation_s,
        "communication_s": tape.communication_s,
        "federation_s": tape.computation_s + tape.communication_s,
        "message_bytes": tape.transfers[0].nbytes,
        "multiplications": multiplications(parts.problem.architecture.operations, counts),
        **(inference(counts) if name == "lenet" else {}),
    }


def multiplications(operations: Any, counts: Manifest) -> float:
    """Of one sample in convolutions, by eq. 1: p m k n, p the share that is left."""
    shares = {tensor.name: tensor.nonzero / tensor.size for tensor in counts.tensors}
    return sum(n.macs * shares[n.name] for n in operations if n.kind.value == "conv")


def inference(counts: Manifest) -> dict[str, float]:
    """Seconds of Fig. 3's forward pass on both Pis."""
    stored = {tensor.name: tensor.nonzero for tensor in counts.tensors}
    whole = network_of("lenet_300_100", sample_shape=(1, 28, 28))
    layers = (replace(n, nonzero=stored.get(n.name, n.nonzero)) for n in whole.layers)
    pruned = Network(name=whole.name, layers=tuple(layers))
    return {
        f"inference_{name}_s": answered(
            pruned, simfl.device(name), batch=SAMPLES, storage=Storage.COO
        ).latency_s
        for name in ("pi3", "pi4")
    }


def dense_inference_s(name: str) -> float:
    """The same of the original network."""
    whole = network_of("lenet_300_100", sample_shape=(1, 28, 28))
    return answered(whole, simfl.device(name), batch=SAMPLES).latency_s


def points(table: pd.DataFrame) -> None:
    """The printed points."""
    for name, levels in PAPER.items():
        for level, printed in levels.items():
            row = table.loc[name, level]
            ours = (row["computation_s"], row["communication_s"], row["message_bytes"] / MIB)
            units = ("s computing", "s sending", "MiB")
            for found, paper, unit in zip(ours, printed, units, strict=True):
                if paper is not None:
                    error = f"{found / paper - 1:+.1%}"
                    print(f"{name:8} level {level:2}: {found:6.2f} {unit}, paper {paper}: {error}")


def claims(table: pd.DataFrame) -> None:
    """What the text says."""
    lenet, fashion, femnist, vgg = (table.loc[name] for name in NETWORKS)
    for what in ("computation_s", "communication_s"):
        falls = lenet[what].loc[1:].is_monotonic_decreasing
        claim("Fig. 2", f"{what} falls with the level", f"levels 1 to {lenet.index[-1]}", falls)
    dense = 4 * 266_610
    first = lenet.index[lenet["message_bytes"] < dense][0]
    claim("Fig. 2", "sparse messages are smaller from level 4", f"from {first}", first == 4)
    for name in ("pi3", "pi4"):
        line = lenet[f"inference_{name}_s"]
        whole_s = dense_inference_s(name)
        faster = line.index[line < whole_s]
        finding = (
            f"{name}: {whole_s:.2f} s dense, less from level {faster[0]}, {line[30]:.2f} at 30"
        )
        claim("Fig. 3", "some level shortens inference", finding, bool(len(faster)))
    for where, name, line in (("Fig. 7", "Conv-FashionMNIST", fashion), ("Fig. 11", "", femnist)):
        rows = {level: f"{line['federation_s'][level]:.2f}" for level in (0, 1, 10, 20, 30)}
        print(f"{where}: seconds a federation by level, {name or 'Conv-FEMNIST'}: {rows}")
    peak = femnist["message_bytes"].idxmax()
    claim("Fig. 11", "the largest message is level 2's", f"level {peak}", peak == 2)
    near = (femnist["message_bytes"].loc[1:] / femnist["message_bytes"][0] - 1).abs().idxmin()
    claim("Fig. 11", "the size is the original's at around level 4", f"{near}", 3 <= near <= 5)
    for where, line in (("Fig. 8", fashion), ("Fig. 12", femnist)):
        work = line["multiplications"][30] / line["multiplications"][0]
        time = line["computation_s"][30] / line["computation_s"][0]
        finding = f"at level 30, {work:.3f} of the multiplications and {time:.2f} of the seconds"
        claim(where, "seconds fall far less than the complexity", finding, time > 2 * work)
    ratio = femnist["federation_s"][0] / femnist["federation_s"][20]
    finding = f"{ratio:.2f} ({ratio / SPEEDUP - 1:+.1%})"
    text = f"a federation of level 0 takes {SPEEDUP} times one of level 20"
    claim("section 5.3.2", text, finding, abs(ratio / SPEEDUP - 1) < 0.05)
    small, large = (1 - t["federation_s"][20] / t["federation_s"][1] for t in (lenet, vgg))
    finding = f"{large:.0%} less time at level 20 than at 1, LeNet-300-100 {small:.0%}"
    claim("Fig. 17", "VGG-11 saves less time than LeNet-300-100", finding, large < small)
    sending, computing = (vgg[w][0] - vgg[w][20] for w in ("communication_s", "computation_s"))
    finding = f"{sending:.1f} s of sending and {computing:.1f} of computing, of level 0 by level 20"
    claim("Fig. 17", "VGG-11 saves mainly communication", finding, sending > computing)


def seconds(axis: Axes, table: pd.DataFrame, name: str, figure: str) -> None:
    """Computation, communication and both, over levels; level 0 is dense."""
    line = table.loc[name]
    for key, label in (
        ("federation_s", "total"),
        ("communication_s", "communication"),
        ("computation_s", "computation"),
    ):
        axis.plot(line.index, line[key], label=label)
    for level, (computation, communication, _) in PAPER.get(name, {}).items():
        axis.plot([level] * 2, [computation, communication], "kx")
    axis.set(title=f"{figure}: {NETWORKS[name][0]}", ylabel="s a federation", ylim=(0, None))
    axis.legend(fontsize="x-small")


def complexity(axis: Axes, table: pd.DataFrame, name: str, figure: str) -> None:
    """Multiplications in convolutions beside the seconds of computation."""
    line = table.loc[name]
    axis.plot(line.index, line["computation_s"], "C2", label="computation, s a federation")
    for level, (computation, *_) in PAPER.get(name, {}).items():
        axis.plot(level, computation, "kx")
    axis.set(title=f"{figure}: {NETWORKS[name][0]}", ylim=(0, None))
    other = axis.twinx()
    other.plot(line.index, line["multiplications"] / 1e6, "C3--", label="multiplications")
    other.set(ylabel="10^6 multiplications a sample", ylim=(0, None))
    axis.plot([], [], "C3--", label="multiplications in convolutions")
    axis.legend(fontsize="x-small")


def draw(table: pd.DataFrame, path: Path) -> None:
    """A panel for each figure."""
    drawn, axes = plt.subplots(2, 4, figsize=(16, 6.4), layout="constrained")
    seconds(axes[0, 0], table, "lenet", "Fig. 2")
    for name in ("pi3", "pi4"):
        line = table.loc["lenet"][f"inference_{name}_s"]
        (drawn_line,) = axes[0, 1].plot(line.index, line, label=name)
        axes[0, 1].axhline(dense_inference_s(name), color=drawn_line.get_color(), linestyle=":")
    axes[0, 1].plot([], [], "k:", label="dense")
    axes[0, 1].set(title="Fig. 3: inference, 10,000 samples", ylabel="s", ylim=(0, None))
    axes[0, 1].legend(fontsize="x-small")
    seconds(axes[0, 2], table, "fashion", "Fig. 7")
    complexity(axes[0, 3], table, "fashion", "Fig. 8")
    seconds(axes[1, 0], table, "femnist", "Fig. 11")
    complexity(axes[1, 1], table, "femnist", "Fig. 12")
    seconds(axes[1, 2], table, "vgg", "Fig. 17, a federation")
    sizes = axes[1, 3]
    for name, (title, *_) in NETWORKS.items():
        line = table.loc[name]["message_bytes"] / MIB
        sizes.plot(line.index, line, label=title)
        for level, (*_, mib) in PAPER.get(name, {}).items():
            sizes.plot(level, mib, "kx") if mib else None
    sizes.plot([], [], "kx", label="paper's text, in all panels")
    sizes.set(title="Figs. 2, 7, 11: one message", ylabel="MiB", yscale="log")
    sizes.legend(fontsize="x-small")
    for axis in axes.flat:
        axis.set_xlabel("pruning level")
        axis.grid(alpha=0.3)
    drawn.savefig(path, dpi=80)
    print(f"{path} drawn")


def main() -> None:
    """Count, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/prunefl_times"))
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    rows = [row for name in NETWORKS for level in LEVELS if (row := federation(name, level))]
    table = pd.DataFrame(rows).set_index(["network", "level"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out.with_suffix(".csv"))
    print(table.round(3).to_string())
    points(table)
    claims(table)
    draw(table, args.figure or args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
