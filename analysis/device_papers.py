"""Times that papers print, beside what the device models say of the same work.

    python analysis/device_papers.py [--table] [--figure device_papers.png]

With --table as Markdown, for docs/cost_models.md, without the points used that are met to 0.5 %.

A point was *used* where a figure of a device file was derived from it; the others are predicted.
PruneFL's Fig. 7 (Conv-FashionMNIST on a Pi 4) is a picture: neither its text nor its tables print
a number of it, and nobody has read it off; so there is nothing to compare with.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from torch import nn

from simfl.cost.device import Device
from simfl.datafolder import Located
from simfl.datasets.base import RecordedDataset
from simfl.devices import load_device
from simfl.models.base import Architecture
from simfl.models.convolutions import Conv, convolutions
from simfl.models.count import operations
from simfl.planning import Tape
from simfl.registry import MODELS
from simfl.scenario import load
from simfl.simulation import plan
from simfl.vision import torchvision
from simfl.work import LayerWork, Passes, Storage, Workload

SCENARIO = Path(__file__).parent.parent / "scenarios" / "pi_lenet.yaml"
# PruneFL's FEMNIST: 193 writers, 62 classes (section 5.3); its images are not needed for counting
FEMNIST = Located(
    dataset=RecordedDataset(
        {
            "name": "femnist",
            "classes": 62,
            "sample_shape": (1, 28, 28),
            "train_samples": 35_559,
            "test_samples": 4_090,
            "digest": "only counted",
        }
    ),
    asked="femnist",
    folder="",
)
# the PruneFL code's configs/: seconds of a step with every weight stored, and of the dense step
TASKS = {
    "conv2_leaf": (2.898095353249955, 2.2486449218005875),
    "vgg11_small_fc": (31.08082229309948, 31.514276721399803),
    "conv4_leaf_celeba": (2.66478774077259, 3.724286518478766),
    "resnet18": (27.966371, 25.3356386726),
}
FLASH_CELEBA_S = {"small": 5.392, "mid": 1.355, "big": 0.561}
FLASH_FEMNIST_S = {"small": 1.642, "mid": 0.588, "big": 0.179}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One number of a paper.

    Attributes:
        unit: of both figures.
        used: whether a device's figure was derived from it.
    """

    where: str
    what: str
    paper: float
    simfl: float
    unit: str = "s"
    used: bool = False

    @property
    def error(self) -> float:
        """Of simfl's, as a share of the paper's."""
        return round(self.simfl / self.paper - 1, 4) + 0.0


@cache
def federation(model: str, level: int, *changes: str) -> Tape:
    """One federation of scenarios/pi_lenet.yaml with a model at a pruning level, by counting."""
    said = (f"learning.algorithm.level={level}", "learning.dataset.name=digits", *changes)
    scenario = load(SCENARIO, (f"learning.model.name={model}", *said))
    return plan(scenario, located=None if model == "lenet_300_100" else FEMNIST)[1]


def conv_femnist(level: int) -> Tape:
    """Conv-FEMNIST on five Pi 4, Table 1's rates, 389 samples at the server."""
    groups = "platform.devices={server: {model: g3s_xlarge}, pi4: {model: pi4, count: 5}}"
    return federation(
        "conv_femnist",
        level,
        groups,
        "learning.algorithm.rates=null",
        "learning.algorithm.server_samples=389",
    )


def raspberry_pis() -> Iterator[Point]:
    """PruneFL, early version: Figs. 2, 11 and 12."""
    for level, compute_s, send_s in ((1, 1.87, 10.57), (30, 0.07, 0.48)):
        tape, what = federation("lenet_300_100", level), f"LeNet-300-100, level {level}"
        point = partial(Point, where="Fig. 2", used=True)
        yield point(what=f"{what}, computing", paper=compute_s, simfl=tape.computation_s)
        yield point(what=f"{what}, sending", paper=send_s, simfl=tape.communication_s)
    for level, compute_s, send_s in ((0, 5.68, 24.34), (1, 13.65, 39.15), (30, 3.97, 1.54)):
        tape, what = conv_femnist(level), f"Conv-FEMNIST, level {level}"
        yield Point(
            where="Fig. 12",
            what=f"{what}, computing",
            paper=compute_s,
            simfl=tape.computation_s,
            used=True,
        )
        yield Point(
            where="Fig. 11",
            what=f"{what}, sending",
            paper=send_s,
            simfl=tape.communication_s,
            used=level > 0,
        )
    dense, pruned = (
        tape.computation_s + tape.communication_s for tape in map(conv_femnist, (0, 20))
    )
    whole = Point(where="section 5.3.1", what="Conv-FEMNIST, level 20", paper=0, simfl=pruned)
    yield replace(whole, what=f"{whole.what}, the whole federation", paper=30.02 / 4.52)
    yield replace(
        whole, what="Conv-FEMNIST, level 0 over 20", paper=4.52, simfl=dense / pruned, unit=""
    )


def server() -> Iterator[Point]:
    """PruneFL, early version, section 6.5: 50 epochs on the server's samples."""
    device = load_device("g3s_xlarge")
    for samples, seconds in ((200, 10), (400, 16), (600, 24), (800, 30), (60_000, 2158)):
        work = Workload(steps=50 * samples // 20, samples=50 * samples, sessions=1)
        yield Point(
            where="section 6.5",
            what=f"50 epochs on {samples:,} samples",
            paper=seconds,
            simfl=device.seconds(work),
            used=samples in (200, 60_000),
        )


def _built(name: str, classes: int, shape: tuple[int, int, int], **options: str) -> Architecture:
    plugin = MODELS.get(name)
    made = plugin.build(plugin.options(**options), classes=classes, sample_shape=shape)
    assert isinstance(made, Architecture)
    return made


def _conv4() -> tuple[LayerWork, ...]:
    """LEAF's CelebA network as far as its weights go: the code gives no more."""
    weights = (864, 9216, 9216, 9216, 2304)
    whole = operations(partial(nn.Linear, 1, 1), (1,))[0]
    return tuple(replace(whole, name=f"layer{i}", weights=n) for i, n in enumerate(weights))


def _task(name: str) -> tuple[LayerWork, ...]:
    if name == "conv4_leaf_celeba":
        return _conv4()
    shape, classes = {
        "conv2_leaf": ((1, 28, 28), 62),
        "vgg11_small_fc": ((3, 32, 32), 10),
        "resnet18": ((3, 168, 168), 100),
    }[name]
    options = {"stem": "torchvision"} if name == "resnet18" else {}
    return _built(name, classes, shape, **options).operations


def journal() -> Iterator[Point]:
    """PruneFL, journal version: the times in its code, with all weights stored and dense."""
    device = load_device("pi4_prunefl")
    for name, (stored_s, dense_s) in TASKS.items():
        layers = _task(name)
        full = tuple(
            replace(n, storage=Storage.COO, nonzero=n.weights) if n.weights else n for n in layers
        )
        for what, held, paper in (("all stored", full, stored_s), ("dense", layers, dense_s)):
            work = Workload(model=name, layers=held, samples=20, steps=1, batch=20)
            yield Point(
                where="PruneFL code",
                what=f"{name}, a step, {what}",
                paper=paper,
                simfl=device.seconds(work),
                used=what == "dense" or name != "conv2_leaf",
            )
    # what its code charges a round of dense FEMNIST training: five steps, and both ways
    assert device.radio is not None
    sent_s = 2 * 32 * 6_603_710 / device.radio.value
    round_s = 5 * device.seconds(
        Workload(model="conv2_leaf", layers=_task("conv2_leaf"), samples=20, steps=1, batch=20)
    )
    yield Point(
        where="PruneFL code",
        what="conv2_leaf, a dense round with sending",
        paper=5 * 2.2486449218005875 + 5.561621025626998e-06 * 6_603_710,
        simfl=round_s + sent_s,
        used=True,
    )


def celeba(width: int) -> tuple[LayerWork, ...]:
    """AutoPrune's Conv for CelebA: four 5 x 5 convolutions of a width, and a linear layer."""
    stages = [Conv(width, 5, padding=2)] * 4
    return operations(partial(convolutions, (3, 84, 84), stages, (2,)), (3, 84, 84))


# equal widths whose FLOPs are nearest to the 29 MFLOP of Table 1; the paper does not print them
PRUNED_WIDTH = 12


def _inference_s(device: Device, layers: tuple[LayerWork, ...]) -> float:
    return device.seconds(
        Workload(layers=layers, samples=1, steps=1, batch=1, passes=Passes.FORWARD)
    )


def autoprune() -> Iterator[Point]:
    """AutoPrune, section on devices: 500 to 1,000 samples/s; inference time halved on phones."""
    whole, pruned = celeba(32), celeba(PRUNED_WIDTH)
    desktop = load_device("i7_4790")
    for what, layers, rate in (("original", whole, 500), ("pruned", pruned, 1000)):
        yield Point(
            where="AutoPrune, text",
            what=f"Conv on CelebA, {what}, i7-4790",
            paper=rate,
            simfl=1 / _inference_s(desktop, layers),
            unit="samples/s",
            used=True,
        )
    for name in ("pixel3", "galaxy_a9", "galaxy_a53", "i7_7700"):
        device = load_device(name)
        yield Point(
            where="AutoPrune, text",
            what=f"Conv on CelebA, time pruned over original, {name}",
            paper=0.5,
            simfl=_inference_s(device, pruned) / _inference_s(device, whole),
            unit="",
        )


def phones() -> Iterator[Point]:
    """FLASH: its CelebA network, at the rates that its FEMNIST network gives."""
    femnist = _built("conv2_leaf", 62, (1, 28, 28)).operations
    flop = [sum(2 * n.macs * (1 + n.products) for n in layers) for layers in (femnist, leaf())]
    for cls, seconds in FLASH_CELEBA_S.items():
        yield Point(
            where="FLASH code",
            what=f"CelebA network, a batch of 10, {cls} phone, by FEMNIST's rate",
            paper=seconds,
            simfl=FLASH_FEMNIST_S[cls] * flop[1] / flop[0],
        )


def leaf() -> tuple[LayerWork, ...]:
    """LEAF's CelebA network: four 3 x 3 convolutions of 32, on 84 x 84 pixels."""
    stages = [Conv(32, 3, padding=1)] * 4
    return operations(partial(convolutions, (3, 84, 84), stages, (2,)), (3, 84, 84))


def gpus() -> Iterator[Point]:
    """ResNet-50's throughput on GPUs, by Lambda's benchmark at its own batches."""
    layers = operations(torchvision().models.resnet50, (3, 224, 224))
    for name, rate, batch, of, used in (
        ("a100", 1066, 640, "A100 SXM4 of 80 GB", False),
        ("a100", 882, 360, "A100 PCIe of 40 GB", True),
        ("rtx_6000", 274, 496, "RTX 8000, the same chip", True),
        ("v100", 369, 128, "V100", True),
        ("rtx_3090", 513, 224, "RTX 3090", True),
        ("h100", 1894, 640, "H100 SXM", True),
    ):
        work = Workload(layers=layers, samples=batch, steps=1, batch=batch)
        yield Point(
            where="Lambda's benchmark",
            what=f"ResNet-50, batch {batch}, {name} ({of})",
            paper=rate,
            simfl=batch / load_device(name).seconds(work),
            unit="images/s",
            used=used,
        )


ALL = (raspberry_pis, server, journal, autoprune, phones, gpus)


def figure(path: Path) -> None:
    """Simfl's figure over the paper's, a dot for each point and a colour for each source."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    row = 0
    for source in ALL:
        found = list(source())
        rows = range(row, row + len(found))
        row += len(found)
        (line,) = axis.plot([], [], "s", label=source.__name__.replace("_", " "))
        for at, p in zip(rows, found, strict=True):
            face = "none" if p.used else line.get_color()
            axis.plot(p.simfl / p.paper, at, "o", color=line.get_color(), markerfacecolor=face)
    axis.plot([], [], "ko", markerfacecolor="none", label="used: a figure was derived from it")
    axis.axvline(1, color="k", linewidth=0.8)
    axis.set(xlabel="simfl / printed", yticks=[])
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize="x-small")
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def main() -> None:
    """Print every point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="as Markdown")
    parser.add_argument("--figure", type=Path, help="draw the errors into this file instead")
    args = parser.parse_args()
    if args.figure:
        figure(args.figure)
        return
    table = args.table
    if table:
        print("| where | what | paper | simfl | error | |\n|---|---|---|---|---|---|")
    for source in ALL:
        if not table:
            print(source.__doc__)
        for p in source():
            paper, found = (f"{x:.4g} {p.unit}".rstrip() for x in (p.paper, p.simfl))
            used = "used" if p.used else "predicted"
            if table and (not p.used or abs(p.error) > 0.005):
                print(f"| {p.where} | {p.what} | {paper} | {found} | {p.error:+.1%} | {used} |")
            elif not table:
                print(f"  {p.what:62} {paper:>16} {found:>16} {p.error:+8.1%}  {used}")


if __name__ == "__main__":
    main()
