"""10,000 clients that come and go, FedBuff, timing only: wall time, memory, and the books.

Nothing is trained: artifacts carry counts. At the end every message that was begun has arrived,
was cut, or is under way, every bit asked of a link has crossed, was cut, or waits, and every
client's seconds (idle, computing, away) add up to the run's.

    python analysis/benchmarks/many_clients.py --data-dir DATA [--clients 10000] [--rounds 500]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import simpy

import simfl
from simfl.assembly import build
from simfl.events.observer import Sent, Span
from simfl.planning import Forecast
from simfl.running import Simulation, meters_of

SCENARIO = "protocol_study"


class Books:
    """An observer that counts, and keeps nothing."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.arrived_bytes = self.cut_bytes = 0
        self.last_round = 0

    def computed(self, span: Span) -> None:
        """One more."""
        self.ended[f"{span.verb}{' cut' if span.cut else ''}"] += 1

    def sent(self, sent: Sent) -> None:
        """Its bytes."""
        self.ended["message cut" if sent.cut else "message"] += 1
        if sent.cut:
            self.cut_bytes += sent.nbytes
        else:
            self.arrived_bytes += sent.nbytes

    def left(self, node: str, why: str) -> None:
        """One more."""
        self.ended["left"] += 1

    def returned(self, node: str) -> None:
        """One more."""
        self.ended["returned"] += 1

    def observe(self, round: int, state: Any, node: Any = None, updates: int = 0) -> None:
        """How far it is."""
        self.last_round = round


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--buffer", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=None)
    parser.add_argument("--steps", type=int, default=3000)
    given = parser.parse_args()
    busy = "null" if given.concurrency is None else str(given.concurrency)
    scenario = simfl.load(
        SCENARIO,
        [
            "platform.devices={server: {model: g3s_xlarge}, "
            f"pi4: {{model: pi4, count: {given.clients}}}}}",
            "platform.network={kind: access_links, down: 20 Mbit/s, up: 5 Mbit/s, "
            "latency: 20 ms, server_down: 1 Gbit/s, server_up: 1 Gbit/s}",
            "platform.availability={name: on_off, there: 8 min, away: 2 min}",
            f"protocol={{name: asynchronous, rounds: {given.rounds}, buffer: {given.buffer}, "
            f"concurrency: {busy}}}",
            "learning.local.batch_size=2",
            f"learning.local.steps={given.steps}",
        ],
    )
    start_s = time.perf_counter()
    parts = build(scenario, given.data_dir)
    built_s = time.perf_counter() - start_s
    env, books, meters = simpy.Environment(), Books(), meters_of(parts)
    algorithm = parts.algorithm
    rules = {word: partial(rule, algorithm) for word, rule in algorithm.counts.items()}
    first = algorithm.forecast

    def promise(verb: Any, *args: Any) -> Forecast:
        return Forecast(verb, args, first, rules.get(verb.__name__))

    run = Simulation(env, parts, books, promise, books.observe, meters=meters, verify=False)
    start_s = time.perf_counter()
    cpu_start_s = time.process_time()
    status = run.play()
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - cpu_start_s
    uses = run.uses()
    worst = max(abs(u.asked - u.carried - u.cut - u.waiting) / max(u.asked, 1.0) for u in uses)
    assert worst < 1e-9, worst
    seconds: Counter[str] = Counter()
    for spent in meters.spent(env.now):
        if spent.kind in ("idle", "compute"):
            seconds[spent.node] += spent.seconds
    for node in run.clients:
        total = seconds[node.name] + node.meter.away.seconds(env.now)
        assert abs(total - env.now) < 1e-6 * env.now, node.name
    up = sum(u.carried for u in uses if u.name.endswith(" up") and u.name != "server up")
    events = sum(books.ended.values())
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.clients:,} clients, {status}; simulated {env.now / 3600:.2f} h")
    print(
        f"built in {built_s:.1f} s, played in {wall_s:.1f} s ({cpu_s:.1f} s of CPU); "
        f"{events / wall_s:,.0f} rows/s"
    )
    print(f"most memory {memory_mib:,.0f} MiB; under way at the end {run._network.flows:,}")
    print(", ".join(f"{name} {count:,}" for name, count in sorted(books.ended.items())))
    print(
        f"arrived {books.arrived_bytes / 2**30:.2f} GiB, cut {books.cut_bytes / 2**30:.3f} GiB; "
        f"clients' links carried {up / 8 / 2**30:.2f} GiB up; books balance to {worst:.1e}"
    )


if __name__ == "__main__":
    main()
