"""Tables 3 and 4 of the early PruneFL paper, beside what simfl finds.

    python analysis/prunefl_tables.py --run --data-dir DATA [--workers 2]  # 12 runs
    python analysis/prunefl_tables.py

One run per method and level, scenarios/pi_lenet.yaml without its stop rule, some nine minutes.
Table 4 is its accuracy at federation 10,000, Table 3 the federation and simulated second at which
95 % was held in ten consecutive evaluations (every 10 federations). Traces lie in
runs/prunefl_tables/; without --run the tables are read off them.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

from simfl.record import Trace

ROOT = Path(__file__).parent.parent
METHODS = {"sample": "sample_based", "init": "initialization", "random": "random"}
LEVELS = (15, 20, 10, 5)
# (federations, seconds) of Table 3; None where the paper prints N/A
TABLE_3 = {
    ("sample", 5): (500, 6322), ("sample", 10): (1000, 3958),
    ("sample", 15): (1500, 3157), ("sample", 20): (7300, 7214),
    ("init", 5): (700, 10093), ("init", 10): (1600, 5320),
    ("init", 15): (9200, 5964), ("init", 20): None,
    ("random", 5): (800, 10907), ("random", 10): (1900, 7130),
    ("random", 15): (12400, 8996), ("random", 20): None,
}  # fmt: skip
TABLE_4 = {
    "sample": {5: 98.1, 10: 97.7, 15: 97.1, 20: 95.4},
    "init": {5: 98.1, 10: 97.4, 15: 95.2, 20: 86.1},
    "random": {5: 98.0, 10: 97.3, 15: 95.1, 20: 85.5},
}


def trace_path(folder: Path, method: str, level: int, seed: int) -> Path:
    """Where the run of that method, level and seed lies."""
    return folder / f"{method}_{level}_{seed}.h5"


def run(folder: Path, data_dir: Path, method: str, level: int, seed: int) -> str:
    """One run, unless its trace is complete already."""
    from simfl.hosting import ExecutorName, Host, store_beside
    from simfl.scenario import load
    from simfl.simulation import resume, run

    # the runs themselves stand side by side
    host = Host(store=store_beside(folder / "any"), executor=ExecutorName.inline)
    path = trace_path(folder, method, level, seed)
    if path.exists():
        # complete already, or killed
        return f"{path.name} {resume(path, data_dir=data_dir, host=host).status}"
    # long enough to see Table 3's 12.4K
    rounds = 14000 if level == 15 and method != "sample" else 10000
    changes = (
        f"seed={seed}",
        f"learning.algorithm.initial={METHODS[method]}",
        f"learning.algorithm.level={level}",
        f"protocol.rounds={rounds}",
        "stop.accuracy=null",
        "stop.time=null",
    )
    scenario = load(ROOT / "scenarios" / "pi_lenet.yaml", changes)
    trace = run(scenario, data_dir=data_dir, out=path, host=host)
    return f"{path.name} {trace.status}"


def tables(folder: Path, seed: int) -> None:
    """Print both tables."""
    print("Table 4: accuracy at federation 10,000, %")
    for method in METHODS:
        for level in sorted(LEVELS):
            path = trace_path(folder, method, level, seed)
            if not path.exists():
                continue
            scores = Trace(path).scores
            at = scores[scores["round"] == 10000]["accuracy"]
            if len(at):
                found, paper = 100 * at.iloc[0], TABLE_4[method][level]
                print(f"  {method:6} {level:2}  {found:5.2f}  paper {paper}  {found - paper:+.2f}")
    print("Table 3: to 95 % in ten consecutive evaluations")
    for method in METHODS:
        for level in sorted(LEVELS):
            path = trace_path(folder, method, level, seed)
            if not path.exists():
                continue
            trace, paper = Trace(path), TABLE_3[method, level]
            found = trace.rounds_to_accuracy(0.95, consecutive=10)
            if found is None:
                last = trace.scores["round"].max()
                print(f"  {method:6} {level:2}  not within {last}  paper {paper or 'N/A'}")
                continue
            seconds = trace.time_to_accuracy(0.95, consecutive=10)
            ratio = f"{found / paper[0]:.2f}" if paper else "paper N/A"
            print(
                f"  {method:6} {level:2}  {found:5} federations, {seconds:6.0f} s   "
                f"paper {paper}   federations found/paper {ratio}"
            )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/prunefl_tables"))
    args = parser.parse_args()
    if args.run:
        with ProcessPoolExecutor(args.workers) as pool:
            jobs = [
                pool.submit(run, args.folder, args.data_dir, method, level, args.seed)
                for level, method in product(LEVELS, args.methods)
            ]
            for job in jobs:
                print(job.result(), flush=True)
    tables(args.folder, args.seed)


if __name__ == "__main__":
    main()
