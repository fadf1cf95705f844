"""Training steps of networks that no profile has seen: predicted by a device file, and measured.

    simfl profile --out here.yaml
    python analysis/device_validation.py here.yaml --measure times.json   # some rounds, some times
    python analysis/device_validation.py here.yaml --times times.json --out device_validation.csv

A round takes one step's time of 88 points in random order: LeNet-300-100, LeNet-5, Conv-FEMNIST,
VGG-11 and ResNet-18 with both stems, an Inception and a MobileNet of this file, batches 1 to 128;
masked, held sparse, and pruned to half of the channels. What is told is the error of the median
over the rounds, from kernels alone and with two of the network's own batches as anchors, and what
the same point differs by between the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from simfl.cost.device import Device
from simfl.devices import load_device
from simfl.models.count import workload
from simfl.profile.cases import SparseLinear
from simfl.profile.timing import Steps, measure
from simfl.registry import MODELS
from simfl.work import Passes, Storage, Workload

ALL = (1, 2, 8, 20, 32, 64, 128)
SOME = (2, 20, 64)
ANCHORS = (2, 64)
SORTS = {"train": Passes.TRAIN, "inference": Passes.FORWARD}
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
SLOT_S = 0.3


class Branches(nn.Module):
    """An Inception block: 1x1, 1x1-3x3, 1x1-5x5 and pooled 1x1 side by side."""

    def __init__(self, n_in: int, *widths: int) -> None:
        super().__init__()
        one, three_in, three, five_in, five, pooled = widths
        self.branches = nn.ModuleList(
            [
                _conv(n_in, one, 1),
                nn.Sequential(_conv(n_in, three_in, 1), _conv(three_in, three, 3)),
                nn.Sequential(_conv(n_in, five_in, 1), _conv(five_in, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(n_in, pooled, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """All branches' channels."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def _conv(n_in: int, n_out: int, kernel: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2), nn.ReLU())


def inception() -> nn.Module:
    """Three blocks; 136 thousand parameters."""
    return nn.Sequential(
        *(_conv(3, 32, 3), nn.MaxPool2d(2)),
        *(Branches(32, 32, 24, 48, 8, 16, 16), Branches(112, 48, 32, 64, 8, 24, 24)),
        *(nn.MaxPool2d(2), Branches(160, 64, 48, 96, 16, 32, 32)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(224, 10)),
    )


def mobilenet() -> nn.Module:
    """Six depthwise and pointwise pairs after Howard et al. 2017; 274 thousand parameters."""
    layers = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    widths = (32, 64, 128, 128, 256, 256, 512)
    for (n_in, n_out), stride in zip(pairwise(widths), (1, 2, 1, 2, 1, 2), strict=True):
        layers += [nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in, bias=False)]
        layers += [nn.BatchNorm2d(n_in), nn.ReLU6(), nn.Conv2d(n_in, n_out, 1, bias=False)]
        layers += [nn.BatchNorm2d(n_out), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def registered(name: str, shape: tuple[int, ...], **options: object) -> Callable[[], nn.Module]:
    """One of simfl's models."""
    plugin = MODELS.get(name)
    classes = 62 if name == "conv_femnist" else 10
    return plugin.build(plugin.options(**options), classes=classes, sample_shape=shape).build


def masked(build: Callable[[], nn.Module]) -> nn.Module:
    """Seven of ten weights masked, as `torch.nn.utils.prune` does it."""
    module = build()
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            prune.random_unstructured(layer, "weight", 0.7)
    return module


def narrowed(build: Callable[[], nn.Module]) -> nn.Module:
    """A chain with half of the hidden channels; structural pruning leaves a smaller network."""
    module = deepcopy(build())
    names = [n for n, m in module.named_children() if isinstance(m, nn.Linear | nn.Conv2d)]
    before = after = 1
    for name in names:
        old = module.get_submodule(name)
        if isinstance(old, nn.Conv2d):
            n_in = old.in_channels if name == names[0] else old.in_channels * after // before
            before, after = old.out_channels, old.out_channels // 2
            new: nn.Module = nn.Conv2d(n_in, after, old.kernel_size, padding=old.padding)
        else:
            n_in = old.in_features if name == names[0] else old.in_features * after // before
            before = old.out_features
            after = before if name == names[-1] else before // 2
            new = nn.Linear(n_in, after)
        setattr(module, name, new)
    return module


def held_sparse(build: Callable[[], nn.Module], density: float) -> nn.Module:
    """Linear layers as coordinate lists."""
    module = build()
    for name, layer in list(module.named_children()):
        if isinstance(layer, nn.Linear):
            sparse = SparseLinear("coo", layer.in_features, layer.out_features, density)
            setattr(module, name, sparse)
    return module


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network: what is measured, and the one that is counted where these differ."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batches: tuple[int, ...]
    dense: Callable[[], nn.Module] | None = None

    def workload(self, batch: int, passes: Passes) -> Workload:
        """Counts of one step."""
        if self.dense is None:
            return workload(self.build(), self.shape, batch=batch, passes=passes)
        module, held = self.dense(), {}
        for name, layer in self.build().named_modules():
            if isinstance(layer, SparseLinear):
                mask = layer.weight.detach().to_dense() != 0
                module.get_parameter(f"{name}.weight").data.copy_(mask)
                held[f"{name}.weight"] = Storage.COO
        return workload(module, self.shape, batch=batch, passes=passes, storage=held)


def subjects() -> dict[str, Subject]:
    """By name."""
    chains = {
        name: (registered(name, shape), shape)
        for name, shape in (
            ("lenet_300_100", GREY),
            ("lenet5", GREY),
            ("conv_femnist", GREY),
            ("vgg11_small_fc", COLOUR),
        )
    }
    found = {n: Subject(build=b, shape=s, batches=ALL) for n, (b, s) in chains.items()}
    for stem, batches in (("cifar", ALL), ("torchvision", ALL[1:])):
        build = registered("resnet18", COLOUR, stem=stem)
        found[f"resnet18 {stem}"] = Subject(build=build, shape=COLOUR, batches=batches)
    found["inception"] = Subject(build=inception, shape=COLOUR, batches=ALL)
    found["mobilenet"] = Subject(build=mobilenet, shape=COLOUR, batches=ALL)
    for name, (build, shape) in chains.items():
        half = lambda build=build: narrowed(build)  # noqa: E731
        found[f"{name} half"] = Subject(build=half, shape=shape, batches=SOME)
        if name != "vgg11_small_fc":
            some = lambda build=build: masked(build)  # noqa: E731
            found[f"{name} masked"] = Subject(build=some, shape=shape, batches=SOME)
    for name, densities in (("lenet_300_100", (0.1, 0.01)), ("conv_femnist", (0.05, 0.01))):
        build, shape = chains[name]
        for density in densities:
            held = lambda build=build, density=density: held_sparse(build, density)  # noqa: E731
            label = f"{name} coo {density:.0%}"
            found[label] = Subject(build=held, shape=shape, batches=SOME, dense=build)
    return found


def measure_round(path: Path, threads: int, device: str) -> None:
    """One round over all points, in an order of its own; added to the file."""
    torch.set_num_threads(threads)
    known = json.loads(path.read_text()) if path.exists() else []
    every = subjects()
    points = [(name, batch) for name, one in every.items() for batch in one.batches]
    turn = len(known) // len(points)
    for number, (name, batch) in enumerate(Random(turn).sample(points, len(points))):
        print(f"\r{number}/{len(points)} {name}, {batch:<10}", end="", file=sys.stderr)
        steps = Steps(every[name].build(), list(every[name].shape), batch, device)
        times = {sort: measure(steps, sort, slot_s=SLOT_S)["s"] for sort in SORTS}
        known.append({"network": name, "batch": batch, **times})
    path.write_text(json.dumps(known))


def table(device: Device, times: Iterable[dict[str, object]]) -> pd.DataFrame:
    """A row for each point and sort of step."""
    every, found = subjects(), defaultdict(list)
    for entry in times:
        for sort in SORTS:
            found[entry["network"], entry["batch"], sort].append(entry[sort])
    rows = []
    for (name, batch, sort), seconds in sorted(found.items()):
        work = every[name].workload(batch, SORTS[sort])
        rows.append(
            {
                "network": name,
                "batch": batch,
                "step": sort,
                "measured_s": median(seconds),
                "rounds": len(seconds),
                "noise": max(seconds) / min(seconds) - 1,
                "predicted_s": device.seconds(work),
            }
        )
    points = pd.DataFrame(rows)
    points["error"] = points.predicted_s / points.measured_s - 1
    points["anchored_s"] = _anchored(points)
    points["anchored_error"] = points.anchored_s / points.measured_s - 1
    return points


def _anchored(points: pd.DataFrame) -> pd.Series:
    """As `simfl.cost.compact.Anchor` does it; the anchors themselves are not predictions."""
    out = pd.Series(np.nan, index=points.index)
    for _, own in points.groupby(["network", "step"]):
        ratios = dict(zip(own.batch, np.log(own.measured_s / own.predicted_s), strict=True))
        if not set(ANCHORS) <= set(ratios):
            continue
        low, high = (ratios[batch] for batch in ANCHORS)
        for index, row in own.iterrows():
            if row.batch not in ANCHORS:
                share = log(row.batch / ANCHORS[0]) / log(ANCHORS[1] / ANCHORS[0])
                share = min(max(share, 0.0), 1.0)
                out[index] = row.predicted_s * exp(low + (high - low) * share)
    return out


def show(points: pd.DataFrame) -> None:
    """Errors by network and batch, then the summary."""
    for sort, own in points.groupby("step", sort=False):
        print(f"\n{sort}: error by batch, kernels alone")
        grid = own.pivot(index="network", columns="batch", values="error")
        print(grid.map(lambda e: "" if pd.isna(e) else f"{e:+.0%}").to_string())
    print()
    for sort, own in points.groupby("step", sort=False):
        noise = own.noise
        print(f"{sort}: {len(own)} points, {own.rounds.min()} rounds or more; the same point")
        print(f"  differs between rounds by {noise.median():.1%}, {noise.quantile(0.9):.1%} (p90)")
        for label, errors in (("kernels alone", own.error), ("anchored", own.anchored_error)):
            found = errors.dropna().abs()
            print(
                f"  {label}, {len(found)} points: median {found.median():.1%}, p90 "
                f"{found.quantile(0.9):.1%}, largest {found.max():.0%}"
            )


def main() -> None:
    """Measure, or tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device")
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--where", default="cpu")
    parser.add_argument("--times", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = load_device(given.device)
    if given.measure:
        measure_round(given.measure, device.threads or 1, given.where)
    times = given.measure or given.times
    if times is None:
        parser.error("give --measure or --times")
    points = table(device, json.loads(times.read_text()))
    show(points)
    if given.out:
        points.to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
