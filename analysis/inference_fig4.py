"""AutoPrune's Figs. 4 and 5 in so far as numbers of them are printed, beside what simfl says.

    python analysis/inference_fig4.py

The figures themselves are pictures that nobody has read off. The text has two numbers, 500 and
1,000 samples/s of Conv on CelebA on the desktop, and one sentence, that the pruned network "cuts
the inference time by nearly half and doubles the throughput on all tested devices". Of the pruned
network Table 1 prints FLOPs, not widths: four convolutions of 12 filters have as many.

*Used* are points that a figure of the device file was derived from; the others are predicted. Of
the phones and the laptop nothing here was used: their figures come from ncnn's benchmark of
networks of 1 to 31 GFLOP, on another phone or computer (`simfl show galaxy_a9` says which).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

import simfl
from simfl.cost.compact import Compact
from simfl.devices import load_device
from simfl.inference import Inference
from simfl.models.convolutions import Conv, convolutions
from simfl.units import show_bytes, show_seconds

FACES = (3, 84, 84)
WIDTH, PRUNED_WIDTH = 32, 12
HALF = 0.5
DEVICES = ("pixel3", "galaxy_a9", "galaxy_a53", "i7_7700", "i7_4790")
USED = {"i7_4790"}
# samples/s of the text: the desktop alone
PRINTED = {"i7_4790": (500, 1000)}


def celeba_conv(width: int) -> nn.Module:
    """AutoPrune's Conv for CelebA: four 5 x 5 convolutions, each pooled, and a linear layer."""
    return convolutions(FACES, [Conv(width, 5, padding=2)] * 4, (2,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One device of Fig. 4.

    Attributes:
        printed: samples/s of both in the text; None where it has none.
        implied_s: what a pass would have to take besides its FLOP, at the file's rate, for the
            pruned network to take half the time; the paper's word, turned round.
        besides_s: what it takes besides, by the file.
    """

    original: Inference
    pruned: Inference
    printed: tuple[int, int] | None
    used: bool
    implied_s: float
    besides_s: float

    @property
    def ratio(self) -> float:
        """Time of the pruned network over that of the original."""
        return self.pruned.latency_s / self.original.latency_s


def rows() -> Iterator[Row]:
    """All five devices."""
    for name in DEVICES:
        device = load_device(name)
        original, pruned = (
            simfl.inference_time(celeba_conv(width), device, sample_shape=FACES)
            for width in (WIDTH, PRUNED_WIDTH)
        )
        assert isinstance(device.cost, Compact)
        kernels = device.cost.inference
        assert kernels is not None
        assert kernels.dense_rate is not None
        work_s, left_s = (2 * one.macs / kernels.dense_rate.value for one in (original, pruned))
        yield Row(
            original=original,
            pruned=pruned,
            printed=PRINTED.get(name),
            used=name in USED,
            # (x + left) / (x + work) = 1/2
            implied_s=(HALF * work_s - left_s) / (1 - HALF),
            besides_s=original.latency_s - work_s,
        )


def main() -> None:
    """Print both."""
    print("Fig. 4, Conv on CelebA, one sample: paper beside simfl")
    print(f"{'device':12} {'original':>10} {'pruned':>10}   pruned/original  paper  besides FLOP")
    for row in rows():
        word = "used" if row.used else "predicted"
        print(
            f"{row.original.device:12} {show_seconds(row.original.latency_s):>10} "
            f"{show_seconds(row.pruned.latency_s):>10}   {row.ratio:15.2f}  {HALF:5.2f}  "
            f"{show_seconds(row.besides_s)}, half needs {show_seconds(row.implied_s)}; {word}"
        )
        if row.printed:
            for what, one, rate in zip(
                ("original", "pruned"), (row.original, row.pruned), row.printed, strict=True
            ):
                print(
                    f"  {what}: {rate:,} samples/s in the text, {one.throughput_per_s:,.0f} by "
                    f"simfl ({one.throughput_per_s / rate - 1:+.1%})"
                )
    row = next(rows())
    print("\nFig. 5, Conv on CelebA (the paper's bytes are in a picture, and TFLite's)")
    for what, one in (("original", row.original), ("pruned", row.pruned)):
        print(
            f"  {what}: {one.parameters:,} parameters, {show_bytes(4 * one.parameters)} of file; "
            f"{show_bytes(one.memory_bytes)} for a pass, by PyTorch's buffers, without runtime"
        )


if __name__ == "__main__":
    main()
