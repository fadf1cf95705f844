"""FedDIP's larger networks (Long et al. 2023, Figs. 3, 4, Table IV): bytes and hours by counting.

    python analysis/feddip_large.py --data-dir DIR [--out runs/feddip_large]

AlexNet on CIFAR-10 and ResNet-18 on CIFAR-100, 1,000 rounds of 5 of 50 Raspberry Pi 4, need weeks
of a CPU to be trained; what is sent, and how long that and the computing take, follows from counts.
FedDIP's model is counted under masks of the schedule's sparsity every 20 rounds; its first round,
whose masks are each client's own, goes down dense. Where there is no CIFAR-100, ResNet-18 is
counted with CIFAR-10's ten classes (0.4 % fewer parameters), and says so.

Nothing here is fitted. Draws OUT/large.png. Training itself is `simfl run feddip_alexnet
protocol.rounds=N`: some three minutes of one core a round.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import matplotlib as mpl

import simfl
from simfl.pruning.schedules import cubic

mpl.use("Agg")
from matplotlib import pyplot as plt

ROUNDS, EVERY = 1000, 20
MIBIT = 2**20 / 8
FEDAVG = "learning.algorithm={name: fedavg}"


@dataclass(frozen=True, slots=True)
class Network:
    """What the paper has of one.

    Attributes:
        budget_mibit: Table IV's, which it calls MB.
        at: derived from it: rounds of FedAvg and of FedDIP that the budget pays for, if what goes
            is 32 bits for each weight that is left, and nothing to say which.
    """

    title: str
    scenario: str
    first: float
    last: float
    budget_mibit: float
    at: tuple[int, int]


NETWORKS = (
    Network("AlexNet", "feddip_alexnet", 0.5, 0.9, 1.8e6, (253, 383)),
    Network("ResNet-18", "feddip_resnet18", 0.05, 0.8, 2e6, (584, 818)),
)


@dataclass(frozen=True, slots=True)
class Course:
    """One training by counting: what each round sends, in Mibit, and takes, in seconds."""

    sent_mibit: list[float]
    round_s: list[float]

    def rounds_within(self, mibit: float) -> int | None:
        """Those that a budget pays for; None where it pays for all."""
        spent = enumerate(accumulate(self.sent_mibit))
        return next((round for round, sent in spent if sent > mibit), None)


def counted(scenario: str, changes: list[str], data_dir: Path | None) -> tuple[float, float]:
    """One round: Mibit both ways of all clients, and its seconds."""
    _, tape = simfl.plan(simfl.load(scenario, changes), data_dir=data_dir)
    sent = sum(transfer.nbytes for transfer in tape.transfers)
    return sent / MIBIT, tape.computation_s + tape.communication_s


def courses(network: Network, data: list[str], data_dir: Path | None) -> dict[str, Course]:
    """FedAvg's, in which all rounds are alike, and FedDIP's."""
    sent, seconds = counted(network.scenario, [*data, FEDAVG], data_dir)
    found = {"fedavg": Course([sent] * ROUNDS, [seconds] * ROUNDS)}
    first = counted(network.scenario, data, data_dir)
    rows = [first]
    for t in range(0, ROUNDS, EVERY):
        share = cubic(t, ROUNDS, network.first, network.last)
        masked = f"learning.algorithm.initial_sparsity={share}"
        masks = [*data, masked, "learning.algorithm.first_mask=server"]
        rows += [counted(network.scenario, masks, data_dir)] * EVERY
    sents, times = zip(*rows[:ROUNDS], strict=True)
    return found | {"feddip": Course(list(sents), list(times))}


def show(network: Network, found: dict[str, Course]) -> None:
    """Rows of one network."""
    for (name, course), paper in zip(found.items(), network.at, strict=True):
        within = course.rounds_within(network.budget_mibit)
        hours = sum(course.round_s) / 3600
        print(
            f"{network.title:10s} {name:7s} {course.sent_mibit[1]:9.0f} "
            f"{course.sent_mibit[-1]:8.0f}   {'all' if within is None else within:>6}  {paper:6d}"
            f"   {course.round_s[-1] / 60:8.1f} {hours / 24:8.1f}"
        )


def figure(found: dict[str, dict[str, Course]], path: Path) -> None:
    """Mibit by round, with the budgets."""
    drawn, axes = plt.subplots(1, len(NETWORKS), figsize=(10, 4), layout="constrained")
    for axis, network in zip(axes, NETWORKS, strict=True):
        for (name, course), at in zip(found[network.title].items(), network.at, strict=True):
            (line,) = axis.plot(list(accumulate(course.sent_mibit, initial=0)), label=name)
            axis.plot(at, network.budget_mibit, "x", color=line.get_color(), markersize=9)
        axis.axhline(network.budget_mibit, color="k", linestyle=":", label="Table IV's budget")
        axis.plot([], [], "kx", label="rounds that it pays for, 32 bits a weight")
        title = f"{network.title}: sent, by counting"
        axis.set(title=title, xlabel="round", ylabel="Mibit, all clients, both ways")
        axis.legend(fontsize="x-small")
    for axis in axes:
        axis.grid(alpha=0.3)
    drawn.savefig(path, dpi=100)
    print(f"{path} drawn")


def main() -> None:
    """Count, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/feddip_large"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print(
        "network    method  Mibit a round: 2nd, last   rounds within budget: simfl, paper's count"
    )
    print(f"{'':62s}minutes a round, days in all")
    found = {}
    for network in NETWORKS:
        data = []
        if network.title == "ResNet-18" and not (args.data_dir / "cifar-100-python").exists():
            data = ["learning.dataset.name=cifar10"]
            print("ResNet-18 with CIFAR-10's classes: no CIFAR-100 here")
        found[network.title] = courses(network, data, args.data_dir)
        show(network, found[network.title])
    figure(found, args.out / "large.png")


if __name__ == "__main__":
    main()
