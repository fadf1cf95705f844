"""How much sooner pruned networks answer here: measured, and told by this machine's device file.

    simfl profile --out here.yaml
    python analysis/inference_speedup.py here.yaml --measure times.json [--seed 1]
    python analysis/inference_speedup.py here.yaml --times times.json [--csv points.csv]

Forward passes (eval, no gradient, one thread) of a network and of the same one with fewer filters,
each in a process of its own, in turns, in blocks of some milliseconds. A time is the tenth
percentile of the blocks' CPU times, which other programs have touched little; the speed-up is the
ratio of two such times.

All of it twice. `kept`: the C library keeps what was freed, as it does in the process of a profile,
in which larger networks went before. `glibc`: as it is by default in a process that runs this
network alone; with activations of some MiB it may give memory back after a pass and ask for it in
the next. Whether it does hangs on the order of its blocks, not on counts; no device file tells it.

AutoPrune's own networks are what is asked about. The others are drawn by a seed, widths and what is
pruned of them too, so that the answer does not rest on two networks. None of them is among the
cases of a profile (`simfl/profile/cases.py`), and nothing of a device file is fitted to what is
measured here. Seed 0 showed what the heap does; other seeds were looked at when all stood.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

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
DRAWN = 12
GOAL = 0.25
LOW = 10  # percentile of the blocks
# mallopt(3): nothing is given back to the system, and every block is the heap's
HEAPS = {"kept": {"MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_MMAP_MAX_": "0"}, "glibc": {}}
GREY, COLOUR, FACES = (1, 28, 28), (3, 32, 32), (3, 84, 84)

Build = Callable[[], nn.Module]


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


def plain(shape: tuple[int, ...], kernels: list[int], widths: list[int]) -> nn.Module:
    """Convolutions, each with ReLU; pooled after every second one and after the last; a layer."""
    layers: list[nn.Module] = []
    n_in = shape[0]
    for number, (kernel, n_out) in enumerate(zip(kernels, widths, strict=True), 1):
        layers += [nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2), nn.ReLU()]
        if number % 2 == 0 or number == len(widths):
            layers += [nn.MaxPool2d(2)]
        n_in = n_out
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10))


def normed(shape: tuple[int, ...], kernels: list[int], widths: list[int]) -> nn.Module:
    """The same with batch normalisation; every second convolution strides instead of pooling."""
    layers: list[nn.Module] = []
    n_in = shape[0]
    for number, (kernel, n_out) in enumerate(zip(kernels, widths, strict=True)):
        conv = nn.Conv2d(n_in, n_out, kernel, 1 + number % 2, kernel // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(n_out), nn.ReLU()]
        n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, 10))


def perceptron(shape: tuple[int, ...], widths: list[int]) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    n_in = shape[0] * shape[1] * shape[2]
    for n_out in widths:
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        n_in = n_out
    return nn.Sequential(*layers, nn.Linear(n_in, 10))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A network and the same with fewer filters.

    Attributes:
        papers: whether it is AutoPrune's.
    """

    name: str
    shape: tuple[int, ...]
    dense: Build
    pruned: Build
    papers: bool = False


def autoprune() -> list[Pair]:
    """Its two convolutional networks, as far as Table 1 tells their widths."""
    return [
        Pair(
            name="Conv, FEMNIST, 32-64 to 16-35",
            shape=GREY,
            dense=lambda: femnist_conv(32, 64),
            # 16,683 parameters, as in Table 1
            pruned=lambda: femnist_conv(16, 35),
            papers=True,
        ),
        Pair(
            name="Conv, CelebA, 4 x 32 to 4 x 12",
            shape=FACES,
            dense=lambda: celeba_conv(32),
            # 29 MFLOP, as in Table 1; the paper does not print the widths
            pruned=lambda: celeba_conv(12),
            papers=True,
        ),
    ]


def drawn(seed: int) -> list[Pair]:
    """Networks of some depth and width, a quarter to nine tenths of each width left."""
    source, found = Random(seed), []
    for number in range(DRAWN):
        shape = source.choice((GREY, COLOUR))
        depth = source.randint(2, 5)
        kernels = [source.choice((3, 3, 5)) for _ in range(depth)]
        widths = [source.randint(8, 96) for _ in range(depth)]
        left = [max(1, round(width * source.uniform(0.25, 0.9))) for width in widths]
        sort = ("plain", "normed", "plain", "linear")[number % 4]
        build: Callable[[list[int]], nn.Module]
        if sort == "linear":
            widths, left = [6 * w for w in widths[:3]], [6 * w for w in left[:3]]
            build = partial(perceptron, shape)
        else:
            build = partial(plain if sort == "plain" else normed, shape, kernels)
        written = ("-".join(map(str, sizes)) for sizes in (widths, left))
        found.append(
            Pair(
                name=f"{sort}, {' to '.join(written)}",
                shape=shape,
                dense=partial(build, widths),
                pruned=partial(build, left),
            )
        )
    return found


def made(build: Build, shape: tuple[int, ...]) -> nn.Module:
    """Ready to answer."""
    module = build().eval()
    with torch.no_grad():
        module(torch.zeros(1, *shape))  # lazy layers see their inputs
    return module


def answer(pipe: Connection, seed: int, number: int, pruned: bool) -> None:
    """A process of one network: told a batch and a count, it takes the CPU seconds of a pass."""
    torch.set_num_threads(1)
    pair = (*autoprune(), *drawn(seed))[number]
    module = made(pair.pruned if pruned else pair.dense, pair.shape)
    known: dict[int, Steps] = {}
    while (asked := pipe.recv()) is not None:
        batch, count = asked
        if batch not in known:
            known[batch] = Steps(module, list(pair.shape), batch, "cpu")
            module.eval()
            known[batch].inference()
        begin = time.process_time()
        for _ in range(count):
            known[batch].inference()
        pipe.send((time.process_time() - begin) / count)


class Running:
    """A network in its process."""

    def __init__(self, seed: int, number: int, pruned: bool) -> None:
        self._pipe, theirs = get_context("spawn").Pipe()
        arguments = (theirs, seed, number, pruned)
        self._process = get_context("spawn").Process(target=answer, args=arguments)
        self._process.start()

    def block(self, batch: int, count: int) -> float:
        """CPU seconds of one forward pass, the mean of some."""
        self._pipe.send((batch, count))
        seconds: float = self._pipe.recv()
        return seconds

    def end(self) -> None:
        """Stop it."""
        self._pipe.send(None)
        self._process.join()


def measure(both: Sequence[Running], batch: int, rounds: int) -> tuple[float, float]:
    """Seconds of a forward pass, dense and pruned, measured in turns."""
    for running in both:
        running.block(batch, 3)
    counts = [max(1, round(BLOCK_S / running.block(batch, 2))) for running in both]
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for k in (0, 1) if turn % 2 else (1, 0):
            found[k].append(both[k].block(batch, counts[k]))
    dense_s, pruned_s = (float(np.percentile(seconds, LOW)) for seconds in found)
    return dense_s, pruned_s


def measured(seed: int, rounds: int) -> dict[str, Any]:
    """All pairs at all batches, with both sorts of heap."""
    before, times = os.getloadavg()[0], []
    for number, pair in enumerate((*autoprune(), *drawn(seed))):
        for heap, variables in HEAPS.items():
            os.environ.update(variables)
            both = [Running(seed, number, pruned) for pruned in (False, True)]
            for variable in variables:
                del os.environ[variable]
            times += [[pair.name, heap, b, *measure(both, b, rounds)] for b in BATCHES]
            for running in both:
                running.end()
        print(f"  {pair.name}", file=sys.stderr)
    return {"seed": seed, "load": [before, os.getloadavg()[0]], "times": times}


def told(device: Device, build: Build, shape: tuple[int, ...], batch: int) -> float:
    """Seconds of a forward pass, by the device's file."""
    return device.seconds(workload(made(build, shape), shape, batch=batch, passes=Passes.FORWARD))


def table(device: Device, found: dict[str, Any]) -> pd.DataFrame:
    """A row for each pair and batch."""
    known = {pair.name: pair for pair in (*autoprune(), *drawn(found["seed"]))}
    rows = []
    for name, heap, batch, dense_s, pruned_s in found["times"]:
        pair = known[name]
        said = [told(device, build, pair.shape, batch) for build in (pair.dense, pair.pruned)]
        speedup, predicted = dense_s / pruned_s, said[0] / said[1]
        rows.append(
            {
                "network": name,
                "papers": pair.papers,
                "heap": heap,
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
    for heap, mine in points.groupby("heap", sort=False):
        print(f"\nheap: {heap}\n{'':46}{'measured, and error of what is told':^37}  speed-up")
        print(f"{'network':40} batch {'dense':>17} {'pruned':>17}   measured   told  error")
        for row in mine.itertuples():
            print(
                f"{row.network:40} {row.batch:5} {row.dense_s * 1e3:8.3f} ms "
                f"{row.dense_error:+5.0%} {row.pruned_s * 1e3:8.3f} ms {row.pruned_error:+5.0%}   "
                f"{row.speedup:8.2f} {row.predicted:6.2f} {row.error:+6.1%}"
            )
        for what, own in (("AutoPrune's", mine[mine.papers]), ("drawn", mine[~mine.papers])):
            latencies = pd.concat([own.dense_error, own.pruned_error]).abs()
            errors = own.error.abs()
            print(
                f"{what}: latency off by {latencies.median():.1%} (median), "
                f"{latencies.quantile(0.9):.1%} (nine of ten); speed-up by {errors.median():.1%}, "
                f"{errors.quantile(0.9):.1%}, at most {errors.max():.1%}; within {GOAL:.0%}: "
                f"{(errors <= GOAL).sum()} of {len(own)}"
            )


def main() -> None:
    """Measure, or tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device", help="this machine's file, of simfl profile")
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--times", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    path = given.measure or given.times
    if path is None:
        parser.error("give --measure or --times")
    if given.measure:
        path.write_text(json.dumps(measured(given.seed, given.rounds)), encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    before, after = found["load"]
    print(f"seed {found['seed']}; load {before:.1f} before and {after:.1f} after")
    points = table(load_device(given.device), found)
    show(points)
    if given.csv:
        points.to_csv(given.csv, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
