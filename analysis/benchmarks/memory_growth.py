"""Peak memory of simfl over clients and rounds: LeNet-300-100 on MNIST, a tenth of them a round.

    python analysis/benchmarks/memory_growth.py --data-dir DATA [--png memory.png]

Each point is a process of its own. With a pool, the figure is that of the main process and the
largest worker, counted whole: pages that they share, such as the data set's, are counted twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

DRIVER = Path(__file__).parent / "simfl_driver.py"
CLIENTS, ROUNDS = (10, 100, 300, 1000), (5, 20, 80)


def peak(data_dir: Path, executor: str, clients: int, rounds: int) -> tuple[int, int]:
    """MiB of the main process and of the largest worker."""
    changes = [
        f"platform.devices.pi4.count={clients}",
        f"protocol.rounds={rounds}",
        f"protocol.cohort={max(1, clients // 10)}",
    ]
    words = ["--workload", "W5", "--data-dir", str(data_dir), "--executor", executor, *changes]
    done = subprocess.run(
        [sys.executable, str(DRIVER), *words], capture_output=True, text=True, check=True
    )
    line = json.loads(done.stdout.splitlines()[-1])
    return line["peak_mib"], line["worker_peak_mib"]


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--png", type=Path)
    args = parser.parse_args()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for executor in ("inline", "pool"):
        by_clients = [sum(peak(args.data_dir, executor, n, 20)) for n in CLIENTS]
        by_rounds = [sum(peak(args.data_dir, executor, 100, n)) for n in ROUNDS]
        for label, xs, ys in (("clients", CLIENTS, by_clients), ("rounds", ROUNDS, by_rounds)):
            told = ", ".join(f"{x}: {y} MiB" for x, y in zip(xs, ys, strict=True))
            print(f"{executor}, {label}: {told}", flush=True)
        axes[0].plot(CLIENTS, by_clients, marker="o", label=executor)
        axes[1].plot(ROUNDS, by_rounds, marker="o", label=executor)
    axes[0].set(xlabel="clients (20 rounds, a tenth a round)", ylabel="peak MiB", xscale="log")
    axes[1].set(xlabel="rounds (100 clients)", ylim=(0, None))
    axes[0].legend()
    figure.tight_layout()
    if args.png:
        figure.savefig(args.png, dpi=120)


if __name__ == "__main__":
    main()
