"""What a what-if costs: pi_lenet at 100 bandwidths, against training again and against bare SimPy.

    python analysis/benchmarks/whatif_cost.py --data-dir DATA [--rounds 1000] [--points 100]

Four wall times: `simfl run` of the base scenario without a store (what each point would cost if it
were trained again; data, server pruning and evaluations included, imports not); `simfl whatif` of
all points, on one process and on one per core; and a SimPy program that processes as many events
as one point does, and nothing else. Then: is a re-timed trace the trace of a fresh run?
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

import simpy

import simfl
from simfl.hosting import ExecutorName, Host, cores
from simfl.retiming import points_of, whatif
from simfl.scenario import load
from simfl.simulation import run

ROOT = Path(__file__).parent.parent.parent


def events_of(rounds: int, data_dir: Path, trace: Path) -> int:
    """SimPy events that one point processes, counted."""
    count = 0
    step = simpy.Environment.step

    def counted(self: simpy.Environment) -> None:
        nonlocal count
        count += 1
        step(self)

    simpy.Environment.step = counted  # type: ignore[method-assign]
    try:
        whatif(simfl.Trace(trace), points_of(["platform.network.rate=7 Mbit/s"]))
    finally:
        simpy.Environment.step = step  # type: ignore[method-assign]
    return count


def bare(events: int, processes: int = 10) -> float:
    """Seconds of so many timeouts in ten processes."""
    env = simpy.Environment()

    def process() -> simpy.events.ProcessGenerator:
        for _ in range(events // processes):
            yield env.timeout(1.0)

    for _ in range(processes):
        env.process(process())
    begun_s = perf_counter()
    env.run()
    return perf_counter() - begun_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--executor", default="auto")
    args = parser.parse_args()
    changes = [f"protocol.rounds={args.rounds}", "stop.accuracy=null", "stop.time=null"]
    scenario = load(ROOT / "scenarios" / "pi_lenet.yaml", changes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base.h5"
        begun_s = perf_counter()
        host = Host(store=None, executor=ExecutorName(args.executor))
        trace = run(scenario, data_dir=args.data_dir, out=path, host=host)
        trained_s = perf_counter() - begun_s
        rates = ",".join(f"{1 + 0.5 * i} Mbit/s" for i in range(args.points))
        points = points_of([f"platform.network.rate={rates}"])
        print(f"training {args.rounds} federations: {trained_s:.1f} s", flush=True)
        for workers in (1, cores()):
            begun_s = perf_counter()
            found = whatif(trace, points, host=Host(workers=workers))
            took_s = perf_counter() - begun_s
            assert not found["anew"].any()
            each_s = took_s / len(points)
            print(
                f"what-if, {len(points)} points on {workers} processes: {took_s:.1f} s, "
                f"{each_s:.3f} s each: {trained_s / each_s:.0f} x faster than training again",
                flush=True,
            )
            if workers == 1:
                alone_s = each_s
        events = events_of(args.rounds, args.data_dir, path)
        bare_s = min(bare(events) for _ in range(5))
        factor = alone_s / bare_s
        print(f"{events:,} events a point; bare SimPy {bare_s:.3f} s; what-if {factor:.1f} x")


if __name__ == "__main__":
    main()
