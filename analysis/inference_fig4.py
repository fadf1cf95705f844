"""AutoPrune's Figs. 4 and 5 in so far as numbers of them are printed, beside what simfl says.

    python analysis/inference_fig4.py [--figure FILE.png]

The figures themselves are pictures that nobody has read off. The text has two numbers, 500 and
1,000 samples/s of Conv on CelebA on the desktop, and one sentence, that the pruned network "cuts
the inference time by nearly half and doubles the throughput on all tested devices".

Pruned widths: of ResNet and Inception those that the public code logged; of Conv none are known,
and four times 12 filters have the 29 MFLOP of Table 1.

*Used* are points that a figure of the device file was derived from; the others are predicted. Of
the phones and the laptop nothing here was used: their figures come from ncnn's benchmark of
networks of 1 to 31 GFLOP, on another phone or computer (`simfl show galaxy_a9` says which).

In the picture, crosses are the text's two numbers (used), and the line at one half is its sentence.
Fig. 5's accuracies are Table 1's, not simfl's: nothing is trained here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import simfl
from simfl.cost.compact import Compact
from simfl.devices import load_device
from simfl.inference import Inference
from simfl.learning.network import floats_of
from simfl.models.base import Architecture
from simfl.models.shapes import shaped
from simfl.pruning.channels import channels_of
from simfl.pruning.surgery import cut
from simfl.registry import MODELS
from simfl.tensors import NamedTensors
from simfl.units import show_bytes, show_seconds

FACES = (3, 84, 84)
HALF = 0.5
DEVICES = ("pixel3", "galaxy_a9", "galaxy_a53", "i7_7700", "i7_4790")
# layers that lose filters, and how many are left
LEFT = {
    "autoprune_conv": {f"conv{i}": 12 for i in range(1, 5)},
    "autoprune_resnet": {"conv1": 9, "block1.conv1": 11, "block2.conv1": 22},
    "autoprune_inception": {
        **{"conv1": 23, "block1.conv1x1": 11, "block1.conv3x3": 13, "block1.conv5x5": 11},
        **{"block2.conv1x1": 26, "block2.conv3x3": 21, "block2.conv5x5": 24},
        **{"conv2": 70, "conv3": 64},
    },
}
OPTIONS = {"autoprune_conv": {"form": "celeba"}}
# samples/s in the text
PRINTED = {("i7_4790", "autoprune_conv"): (500, 1000)}
# Table 1, CelebFaces: accuracy in percent of the original and the pruned network
ACCURACIES = {
    "autoprune_conv": (95.87, 92.59),
    "autoprune_resnet": (89.50, 85.83),
    "autoprune_inception": (87.78, 86.23),
}


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    """One of AutoPrune's three for CelebA, and the same pruned."""
    plugin = MODELS.get(name)
    model: Architecture = plugin.build(
        plugin.options(**OPTIONS.get(name, {})), classes=2, sample_shape=FACES
    )
    module = model.build()
    channels = channels_of(model.build(), FACES)
    number = {
        maker.removesuffix(".weight"): key
        for key, group in channels.groups.items()
        for maker in group.makers
    }
    kept = {number[layer]: torch.arange(count) for layer, count in LEFT[name].items()}
    tensors = NamedTensors.pack({n: v.detach() for n, v in floats_of(module).items()})
    pruned = shaped(model, cut(tensors, channels, kept).layout).build()
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter.fill_(1)  # built of undefined numbers, of which zeros would count as pruned
    return module, pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network on one device of Fig. 4.

    Attributes:
        printed: samples/s of both in the text; None where it has none. They were used.
        besides_s: what the original takes besides its FLOP, by the file.
        implied_s: what it would be, at the file's rate, for the pruned network to take half the
            time: the paper's sentence turned round. Below 0 where the FLOP alone are not halved.
    """

    network: str
    original: Inference
    pruned: Inference
    printed: tuple[int, int] | None
    besides_s: float
    implied_s: float

    @property
    def ratio(self) -> float:
        """Time of the pruned network over that of the original."""
        return self.pruned.latency_s / self.original.latency_s


def rows() -> Iterator[Row]:
    """All networks on all five devices."""
    for name in LEFT:
        both = networks(name)
        for where in DEVICES:
            device = load_device(where)
            original, pruned = (
                simfl.inference_time(module, device, sample_shape=FACES) for module in both
            )
            assert isinstance(device.cost, Compact)
            assert device.cost.inference is not None
            rate = device.cost.inference.dense_rate
            assert rate is not None
            work_s, left_s = (2 * one.macs / rate.value for one in (original, pruned))
            yield Row(
                network=name,
                original=original,
                pruned=pruned,
                printed=PRINTED.get((where, name)),
                besides_s=original.latency_s - work_s,
                # (x + left) / (x + work) = 1/2
                implied_s=(HALF * work_s - left_s) / (1 - HALF),
            )


def main() -> None:
    """Print both, and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    print("Fig. 4, CelebA, one sample; the paper: the time 'nearly halved' on all five\n")
    print("network              device       original    pruned  ratio   besides FLOP (half needs)")
    found = list(rows())
    for row in found:
        half = show_seconds(row.implied_s) if row.implied_s > 0 else "cannot be"
        print(
            f"{row.network:20} {row.original.device:10} {show_seconds(row.original.latency_s):>10} "
            f"{show_seconds(row.pruned.latency_s):>9}  {row.ratio:5.2f}   "
            f"{show_seconds(row.besides_s)} ({half})"
        )
        if row.printed:
            for one, rate in zip((row.original, row.pruned), row.printed, strict=True):
                error = one.throughput_per_s / rate - 1
                print(f"  used: {rate:,} samples/s; {one.throughput_per_s:,.0f} ({error:+.1%})")
    print("\nFig. 5 (its bytes are in a picture, and TFLite's); here by PyTorch's buffers")
    for row in found[:: len(DEVICES)]:
        for what, one in (("original", row.original), ("pruned", row.pruned)):
            held, taken = show_bytes(4 * one.parameters), show_bytes(one.memory_bytes)
            print(
                f"{row.network:20} {what:8} {one.parameters:9,} parameters, {held:>10} of weights, "
                f"{taken:>9} for a pass"
            )
    if args.figure:
        draw(found, args.figure)
        print(f"\n{args.figure} drawn")


def draw(found: list[Row], path: Path) -> None:
    """Times on five devices, a panel for each network; their ratios; and Fig. 5's sizes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplot_mosaic(
        [list(LEFT), ["ratio", "ratio", "size"]], figsize=(13, 7), layout="constrained"
    )
    places = range(len(DEVICES))
    for number, name in enumerate(LEFT):
        some = [row for row in found if row.network == name]
        for shift, which in ((-0.2, "original"), (0.2, "pruned")):
            times = [1e3 * getattr(row, which).latency_s for row in some]
            panels[name].bar([at + shift for at in places], times, width=0.36, label=which)
        for at, row in enumerate(some):
            for shift, rate in zip((-0.2, 0.2), row.printed or (), strict=False):
                panels[name].plot(at + shift, 1e3 / rate, "kx", markersize=9)
        panels[name].plot([], [], "kx", label="text (used)")
        panels[name].set(title=f"Fig. 4: {name}", ylabel="one sample, ms")
        panels[name].set_xticks(places, DEVICES, rotation=20)

        at = [place + 0.25 * (number - 1) for place in places]
        panels["ratio"].bar(at, [row.ratio for row in some], width=0.22, label=name)
        both, accuracy = (some[0].original, some[0].pruned), ACCURACIES[name]
        sizes = [4 * one.parameters / 1024 for one in both]
        areas = [one.memory_bytes / 1024 / 4 for one in both]
        panels["size"].scatter(sizes, accuracy, s=areas, alpha=0.5, color=f"C{number}")
        for size, percent, one in zip(sizes, accuracy, both, strict=True):
            text = {"xytext": (0, -22), "textcoords": "offset points", "ha": "center"}
            held = show_bytes(one.memory_bytes)
            panels["size"].annotate(held, (size, percent), fontsize="small", **text)
        ends = {"xy": (sizes[1], accuracy[1]), "xytext": (sizes[0], accuracy[0])}
        panels["size"].annotate("", **ends, arrowprops={"arrowstyle": "->"})
    panels["autoprune_conv"].legend(fontsize="small")
    panels["ratio"].axhline(HALF, color="k", linestyle="--", label='text: "nearly half", all five')
    panels["ratio"].set(title="Fig. 4: time of the pruned network over the original's")
    panels["ratio"].set_ylim(0, 1.3)
    panels["ratio"].set_xticks(places, DEVICES)
    panels["ratio"].legend(fontsize="small", ncols=2)
    panels["size"].set(title="Fig. 5: memory of a pass (circles, numbers)", xscale="log")
    panels["size"].set(xlabel="weights, KiB of float32", ylabel="accuracy of Table 1, %")
    panels["size"].margins(0.2)
    for panel in panels.values():
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
