"""How much faster pruned networks answer here: measured, and told by this machine's device file.

    simfl profile --out here.yaml
    python analysis/inference_speedup.py here.yaml [--rounds 40] [--csv points.csv]

Forward passes (eval, no gradient) of a network and of the same one with fewer filters, one after
the other in blocks of some milliseconds, in an order that alternates, for many rounds. A time is
the tenth percentile of the blocks, which other programs have touched little; the speed-up is the
ratio of two such times. What is told is the error of the speed-up and of both latencies.

AutoPrune's own networks are the subjects of the claim; the others are there so that the claim does
not rest on two. None of them is among the cases of the profile (`simfl/profile/cases.py`), and
nothing of a device file is fitted to what is measured here.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from simfl.cost.device import Device
from simfl.devices import load_device
from simfl.models.base import chain
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import workload
from simfl.profile.timing import BLOCK_S, Steps
from simfl.work import Passes

BATCHES = (1, 32)
GOAL = 0.25
LOW = 10  # percentile of the blocks
GREY, COLOUR, FACES = (1, 28, 28), (3, 32, 32), (3, 84, 84)


def femnist_conv(first: int, second: int) -> nn.Module:
    """AutoPrune's Conv for FEMNIST: two 5 x 5 convolutions, global average pooling, one layer."""
    return chain(
        conv1=nn.Conv2d(1, first, 5),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(first, second, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(second, 62),
    )


def celeba_conv(width: int) -> nn.Module:
    """AutoPrune's Conv for CelebA: four 5 x 5 convolutions of a width, one layer."""
    return convolutions(FACES, [Conv(width, 5, padding=2)] * 4, (2,))


def vgg(*widths: int) -> nn.Module:
    """3 x 3 convolutions, two to a stage, for 32 x 32 pixels."""
    stages = [Conv(w, 3, padding=1, pool=pool) for w in widths for pool in (False, True)]
    return convolutions(COLOUR, stages, (10,))


def normed(width: int) -> nn.Module:
    """Convolutions with batch normalisation, strided from stage to stage."""
    layers: list[nn.Module] = []
    n_in = 3
    for n_out, stride in ((width, 1), (width, 1), (2 * width, 2), (2 * width, 1), (4 * width, 2)):
        layers += [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)]
        layers += [nn.ReLU()]
        n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, 10))


def perceptron(*widths: int) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = (784, *widths)
    for n_in, n_out in zip(sizes, widths, strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A network and the same with fewer filters.

    Attributes:
        papers: whether it is AutoPrune's.
    """

    name: str
    shape: tuple[int, ...]
    dense: Callable[[], nn.Module]
    pruned: Callable[[], nn.Module]
    papers: bool = False


def pairs() -> Iterator[Pair]:
    """AutoPrune's two, and others."""
    yield Pair(
        name="Conv, FEMNIST, [32, 64] to [16, 35]",
        shape=GREY,
        dense=lambda: femnist_conv(32, 64),
        # 16,683 parameters, as in AutoPrune's Table 1
        pruned=lambda: femnist_conv(16, 35),
        papers=True,
    )
    yield Pair(
        name="Conv, CelebA, 4 x 32 to 4 x 12",
        shape=FACES,
        dense=lambda: celeba_conv(32),
        # 29 MFLOP, as in AutoPrune's Table 1; it does not print the widths
        pruned=lambda: celeba_conv(12),
        papers=True,
    )
    yield Pair(
        name="VGG, 32-64-128 to 16-32-64",
        shape=COLOUR,
        dense=lambda: vgg(32, 64, 128),
        pruned=lambda: vgg(16, 32, 64),
    )
    yield Pair(
        name="VGG, 32-64-128 to 20-24-40",
        shape=COLOUR,
        dense=lambda: vgg(32, 64, 128),
        pruned=lambda: vgg(20, 24, 40),
    )
    yield Pair(
        name="BN, 24-48-96 to 12-24-48",
        shape=COLOUR,
        dense=lambda: normed(24),
        pruned=lambda: normed(12),
    )
    yield Pair(
        name="LeNet-300-100 to 60-20",
        shape=GREY,
        dense=lambda: perceptron(300, 100),
        pruned=lambda: perceptron(60, 20),
    )


def _block(steps: Steps, count: int) -> float:
    """CPU seconds of one forward pass."""
    begin = time.process_time()
    for _ in range(count):
        steps.inference()
    return (time.process_time() - begin) / count


def measure(pair: Pair, batch: int, rounds: int) -> tuple[float, float]:
    """Seconds of a forward pass, dense and pruned, measured in turns."""
    both = [Steps(build(), list(pair.shape), batch, "cpu") for build in (pair.dense, pair.pruned)]
    counts = []
    for steps in both:
        steps.module.eval()
        steps.inference()
        counts.append(max(1, round(BLOCK_S / max(_block(steps, 2), 1e-7))))
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for k in (0, 1) if turn % 2 else (1, 0):
            found[k].append(_block(both[k], counts[k]))
    dense_s, pruned_s = (float(np.percentile(seconds, LOW)) for seconds in found)
    return dense_s, pruned_s


def told(
    device: Device, build: Callable[[], nn.Module], shape: tuple[int, ...], batch: int
) -> float:
    """Seconds of a forward pass, by the device's file."""
    return device.seconds(workload(build().eval(), shape, batch=batch, passes=Passes.FORWARD))


def table(device: Device, rounds: int) -> pd.DataFrame:
    """A row for each pair and batch."""
    rows = []
    for pair in pairs():
        for batch in BATCHES:
            dense_s, pruned_s = measure(pair, batch, rounds)
            said = [told(device, b, pair.shape, batch) for b in (pair.dense, pair.pruned)]
            speedup, predicted = dense_s / pruned_s, said[0] / said[1]
            rows.append(
                {
                    "network": pair.name,
                    "papers": pair.papers,
                    "batch": batch,
                    "dense_s": dense_s,
                    "dense_error": said[0] / dense_s - 1,
                    "pruned_s": pruned_s,
                    "pruned_error": said[1] / pruned_s - 1,
                    "speedup": speedup,
                    "predicted": predicted,
                    "error": predicted / speedup - 1,
                }
            )
    return pd.DataFrame(rows)


def show(points: pd.DataFrame) -> None:
    """Measured beside told."""
    heads = "dense pruned | speed-up: measured told error"
    print(f"{'network':40} batch   {heads}")
    for row in points.itertuples():
        print(
            f"{row.network:40} {row.batch:4}  {row.dense_s * 1e3:7.3f} ms {row.dense_error:+5.0%} "
            f"{row.pruned_s * 1e3:7.3f} ms {row.pruned_error:+5.0%} | {row.speedup:5.2f} "
            f"{row.predicted:5.2f} {row.error:+6.1%}"
        )
    for what, own in (
        ("AutoPrune's", points[points.papers]),
        ("the others", points[~points.papers]),
    ):
        errors = own.error.abs()
        print(
            f"{what}: error of the speed-up {errors.median():.1%} (median), {errors.max():.1%} "
            f"(largest); within {GOAL:.0%}: {(errors <= GOAL).sum()} of {len(own)}"
        )


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device", help="this machine's file, of simfl profile")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = load_device(given.device)
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    points = table(device, given.rounds)
    show(points)
    if given.csv:
        points.to_csv(given.csv, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
