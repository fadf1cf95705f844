"""Wall time of simfl beside the peers and the plain loop: same work, one run, interleaved.

    bash analysis/benchmarks/peers/install.sh VENVS
    python analysis/benchmarks/against_peers.py --data-dir DATA --venvs VENVS [--repeats 3]

Each peer runs in its own environment, in its documented simulation idiom (peers/README.md); where
that leaves torch's threads or processes open, the faster of the two settings counts. simfl runs
scenarios/W*.yaml by `simfl run`'s own function. What each times: the simulation, without imports,
reading data, building the model and evaluation. Every driver counts its SGD steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
WORKLOADS = ("W1", "W2", "W3", "W5")


def commands(venvs: Path, data_dir: Path, workload: str) -> Iterator[tuple[str, list[str]]]:
    """Who is measured, and how it is called."""
    common = ["--workload", workload, "--data-dir", str(data_dir)]
    yield "simfl", [sys.executable, str(HERE / "simfl_driver.py"), *common]
    for peer, variants in (
        ("plain", [[]]),
        ("pfl", [["--threads", "1"], []]),
        ("fluke", [["--threads", "1"], []]),
        ("flgo", [[]]),
        ("fedlab", [["--threads", "1"], []]),
        ("flower", [[]]),
    ):
        folder = venvs / f"venv_{peer}" / "bin"
        driver = str(HERE / "peers" / f"{peer}.py")
        for options in variants:
            words = [str(folder / "python"), driver, *common, *options]
            yield " ".join([peer, *options]), words
    torchrun = [str(venvs / "venv_pfl" / "bin" / "torchrun"), "--nproc-per-node", "2"]
    yield "pfl, 2 processes", [*torchrun, str(HERE / "peers" / "pfl.py"), *common]


def measured(words: list[str], limit_s: float) -> dict[str, object]:
    """One run: the driver's JSON line, or why there is none."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=limit_s, check=False, cwd=HERE
        )
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {limit_s:.0f} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["nothing said"])[-1][:120]}
    found: dict[str, object] = json.loads(lines[-1])
    return found


def main() -> None:
    """Run all, and print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--venvs", type=Path, required=True)
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one run")
    parser.add_argument("--out", type=Path, help="where to append JSON lines")
    args = parser.parse_args()
    for workload in args.workloads.split(","):
        seconds: dict[str, list[float]] = {}
        errors: dict[str, str] = {}
        for _ in range(args.repeats):
            for who, words in commands(args.venvs.resolve(), args.data_dir.resolve(), workload):
                line = measured(words, args.limit)
                if "error" in line:
                    errors[who] = str(line["error"])
                    continue
                seconds.setdefault(who, []).append(float(str(line["seconds"])))
                if args.out:
                    with args.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"who": who, **line}) + "\n")
        ours = median(seconds["simfl"])
        print(f"{workload}: simfl {ours:.2f} s", flush=True)
        for who, found in sorted(seconds.items(), key=lambda item: median(item[1])):
            print(f"  {who:24s} {median(found):8.2f} s   {median(found) / ours:6.1f} x simfl")
        for who, why in errors.items():
            print(f"  {who:24s} no figure: {why}")


if __name__ == "__main__":
    main()
