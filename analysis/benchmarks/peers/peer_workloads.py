"""What every driver in this folder shares: the workloads, the models, the data, and the answer.

Nothing here belongs to a framework: it needs torch and numpy only, and is imported in every peer's
environment (and by Flower's worker processes).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, RandomSampler, TensorDataset


@dataclass(frozen=True)
class Workload:
    """FedAvg of plain SGD on MNIST, split evenly and independently of the labels.

    Attributes:
        model: the name of the model in `MODELS`.
        clients: how many there are.
        samples: training samples of each.
        drawn: how many of them train in a round.
        rounds: how many rounds there are.
        batch: samples in an SGD step.
        rate: the learning rate.
        steps: SGD steps of a client in a round, where the workload counts steps.
        epochs: passes of a client over its data in a round, where it counts passes.
    """

    model: str
    clients: int
    samples: int
    drawn: int
    rounds: int
    batch: int
    rate: float
    steps: int | None = None
    epochs: int | None = None

    @property
    def drawn_samples(self) -> int:
        """The samples that a client's data loader hands out in one pass.

        Where the workload counts steps, one pass is made to be just those steps.
        """
        return self.samples if self.steps is None else self.steps * self.batch

    @property
    def passes(self) -> int:
        """Passes over such a loader in a round."""
        return self.epochs or 1

    @property
    def client_steps(self) -> int:
        """SGD steps of a client in a round."""
        return self.passes * -(-self.drawn_samples // self.batch)

    def expected_steps(self, rounds: int) -> int:
        """SGD steps of all clients in so many rounds."""
        return rounds * self.drawn * self.client_steps


WORKLOADS = {
    "W1": Workload(
        "lenet300", clients=10, samples=6000, drawn=10, rounds=200, batch=20, rate=0.1, steps=5
    ),
    "W2": Workload(
        "lenet5", clients=50, samples=1200, drawn=5, rounds=10, batch=64, rate=0.05, epochs=5
    ),
    "W3": Workload(
        "simplecnn", clients=100, samples=540, drawn=2, rounds=15, batch=32, rate=0.01, epochs=1
    ),
    "W5": Workload(
        "lenet300", clients=1000, samples=60, drawn=100, rounds=20, batch=20, rate=0.1, steps=5
    ),
}


def lenet300() -> nn.Module:
    """LeNet-300-100: 266,610 parameters."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def _convolutional(padding: int, flat: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def lenet5() -> nn.Module:
    """LeNet-5: 61,706 parameters."""
    return _convolutional(padding=2, flat=400)


def simplecnn() -> nn.Module:
    """LeNet-5 without padding: 44,426 parameters."""
    return _convolutional(padding=0, flat=256)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "lenet300": lenet300,
    "lenet5": lenet5,
    "simplecnn": simplecnn,
}


def build(workload: Workload) -> nn.Module:
    """The workload's model with the same initial weights at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[workload.model]()


def _idx(path: Path) -> np.ndarray:
    content = path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def mnist(data_dir: Path, part: str = "train") -> tuple[Tensor, Tensor]:
    """MNIST as float images (N, 1, 28, 28) in [0, 1] and integer labels.

    Args:
        data_dir: holds MNIST/raw/*-ubyte, as torchvision lays it out.
        part: "train" or "t10k".
    """
    raw = data_dir / "MNIST" / "raw"
    images = torch.from_numpy(_idx(raw / f"{part}-images-idx3-ubyte"))
    labels = torch.from_numpy(_idx(raw / f"{part}-labels-idx1-ubyte"))
    return images.unsqueeze(1).float() / 255, labels.long()


def training(workload: Workload, data_dir: Path) -> tuple[Tensor, Tensor]:
    """The training samples of all clients together, in a random order that is always the same."""
    images, labels = mnist(data_dir)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(labels), generator=generator)[: workload.clients * workload.samples]
    return images[order], labels[order]


def split(workload: Workload, data_dir: Path) -> list[tuple[Tensor, Tensor]]:
    """Each client's images and labels: equal parts, independent of the labels."""
    images, labels = training(workload, data_dir)
    return list(zip(images.split(workload.samples), labels.split(workload.samples), strict=True))


def order_of(workload: Workload) -> Tensor:
    """The samples of a client's next pass, in a random order.

    Where the pass is longer than the data, they are gone through again, in another order.
    """
    repeats = -(-workload.drawn_samples // workload.samples)
    orders = [torch.randperm(workload.samples) for _ in range(repeats)]
    return torch.cat(orders)[: workload.drawn_samples]


def slices(workload: Workload, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one pass, each taken by one indexing of the client's tensors."""
    for indices in order_of(workload).split(workload.batch):
        yield images[indices], labels[indices]


def loader(workload: Workload, images: Tensor, labels: Tensor) -> DataLoader:
    """The same batches by torch's DataLoader, which fetches and collates one sample at a time."""
    dataset = TensorDataset(images, labels)
    sampler = RandomSampler(dataset, num_samples=workload.drawn_samples)
    return DataLoader(dataset, batch_size=workload.batch, sampler=sampler)


class StepCounter:
    """Counts the optimiser steps that are really done in this process, whoever does them."""

    def __init__(self) -> None:
        self.steps = 0
        register_optimizer_step_post_hook(self._count)

    def _count(self, *_: object) -> None:
        self.steps += 1


def quiet() -> contextlib.AbstractContextManager[object]:
    """Send what a framework prints to standard error; standard output has one line only."""
    return contextlib.redirect_stdout(sys.stderr)


def arguments(
    about: str | None, *, batches: bool = False, threads: bool = True
) -> argparse.Namespace:
    """The command line of every driver; torch's threads are set as it says.

    Args:
        about: the driver's description.
        batches: whether it lets one choose how batches are made.
        threads: whether it lets one choose how many threads torch has.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", required=True, choices=sorted(WORKLOADS))
    parser.add_argument("--data-dir", required=True, type=Path, help="holds MNIST/raw/*-ubyte")
    parser.add_argument("--rounds", type=int, help="instead of the workload's own number")
    if batches:
        parser.add_argument(
            "--batches",
            choices=["loader", "slices"],
            default="loader",
            help="torch's DataLoader (default), or one indexing per batch as in plain.py",
        )
    if threads:
        parser.add_argument("--threads", type=int, help="torch's, instead of the peer's default")
    given = parser.parse_args()
    if threads and given.threads:
        torch.set_num_threads(given.threads)
    given.data_dir = given.data_dir.resolve()
    if given.rounds is None:
        given.rounds = WORKLOADS[given.workload].rounds
    return given


@torch.no_grad()
def accuracy(model: nn.Module, data_dir: Path) -> float:
    """The fraction of MNIST's test set that the model gets right."""
    images, labels = mnist(data_dir, "t10k")
    model.eval()
    right = sum(
        int((model(x).argmax(1) == y).sum())
        for x, y in zip(images.split(1000), labels.split(1000), strict=True)
    )
    return right / len(labels)


def answer(
    peer: str,
    distribution: str,
    given: argparse.Namespace,
    seconds: float,
    steps: int,
    right: float,
    threads: int | None = None,
) -> None:
    """Print the driver's one line, and fail if it has not done the workload's SGD steps.

    Args:
        peer: what was measured.
        distribution: the installed package whose version that is.
        given: the command line.
        seconds: wall time of the timed part.
        steps: SGD steps done in it.
        right: the final model's test accuracy.
        threads: torch's threads in each process that trains, where that is not this one.
    """
    line: dict[str, object] = {
        "peer": peer,
        "version": version(distribution),
        "workload": given.workload,
        "seconds": round(seconds, 4),
        "rounds": given.rounds,
        "sgd_steps": steps,
        "accuracy": round(right, 4),
        "torch": torch.__version__,
        "torch_threads": threads or torch.get_num_threads(),
        "python": platform.python_version(),
    }
    if "LOCAL_WORLD_SIZE" in os.environ:
        line["processes"] = int(os.environ["LOCAL_WORLD_SIZE"])
    if "batches" in given:
        line["batches"] = given.batches
    print(json.dumps(line), flush=True)
    expected = WORKLOADS[given.workload].expected_steps(given.rounds)
    if steps != expected:
        sys.exit(f"{peer} did {steps} SGD steps; {given.workload} asks for {expected}")
