"""simfl as a driver beside the peers': one workload, one line of JSON.

    python simfl_driver.py --workload W1 --data-dir DATA [--executor auto]

Timed: from the built scenario to the closed trace, with event loop, costs, processes and trace.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from simfl.hosting import ExecutorName, Host
from simfl.running import Parts
from simfl.scenario import load
from simfl.simulation import Listeners, Outcome, run


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--executor", default="auto")
    parser.add_argument("changes", nargs="*", help="key.path=value")
    args = parser.parse_args()
    at: dict[str, float] = {}
    outcomes: list[Outcome] = []
    parts: list[Parts] = []

    def start(built: Parts) -> None:
        built.problem.prepare()
        parts.append(built)
        at["start"] = perf_counter()

    def end(outcome: Outcome) -> None:
        at["end"] = perf_counter()
        outcomes.append(outcome)

    path = Path(__file__).parent / "scenarios" / f"{args.workload}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        run(
            load(path, args.changes),
            data_dir=args.data_dir,
            out=Path(folder) / "run.h5",
            host=Host(store=None, executor=ExecutorName(args.executor)),
            listeners=Listeners(start=start, end=end),
        )
    problem = parts[0].problem
    turns = outcomes[0].computed["train"]
    usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "peer": "simfl",
                "version": version("simfl"),
                "workload": args.workload,
                "seconds": round(at["end"] - at["start"], 4),
                "sgd_steps": turns * problem.local.steps_on(problem.participants[0].samples),
                "executor": outcomes[0].executor,
                "peak_mib": round(usage[0].ru_maxrss / 2**10),
                "worker_peak_mib": round(usage[1].ru_maxrss / 2**10),
            }
        )
    )


if __name__ == "__main__":
    main()
