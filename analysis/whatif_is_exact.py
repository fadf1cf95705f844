"""Re-time runs at other settings, run the same settings afresh, and compare byte for byte.

    python analysis/whatif_is_exact.py [--pairs 50] [--seed 1]

Every pair is two random settings of one small learning problem: network, devices, codec, stop
rules, evaluations. The first is run; `simfl.whatif` re-times it at the second, with no data set
open; and the second is run afresh, without a store. All tables of the two traces must be equal,
and so must what the row says. Where the second needs what the first did not compute (it goes on for
longer, or evaluates oftener), the row must say how many turns that is, and the trace must be equal
once they are trained (`train=True`).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import simfl
from simfl.record.schema import COLUMNS
from simfl.record.summary import summarise
from simfl.scenario import loads

ROUNDS = 4
LEARNING = """\
dataset: {{name: digits}}
  model: {{name: {model}}}
  algorithm: {algorithm}
  local: {{learning_rate: 0.1, batch_size: 10, steps: 2}}
"""
SCENARIO = """\
name: pair
seed: {seed}
learning:
  {learning}
platform:
  devices: {devices}
  network: {network}
topology: {topology}
protocol: {protocol}
codec: {codec}
stop: {stop}
record: {{path: run.h5, evaluate_every: {evaluate_every}}}
"""
# the Pi 3 cannot hold a dense LeNet-300-100; the server's machine has no figure for sparse layers
FEDAVG = ["{name: fedavg}", "{name: fedavg, average: uniform}"]
PRUNEFL = [
    "{name: prunefl, initial: initialization, level: 2}",
    "{name: prunefl, initial: random, level: 1}",
    "{name: prunefl, level: 1, server_samples: 20, server_epochs: 1}",
    "{name: prunefl, initial: random, level: 1, federated: true, final_level: 3, prune_every: 1}",
    "{name: prunefl, initial: random, level: 2, federated: true, final_level: 3, prune_every: 2}",
]
CODECS = ["{name: dense}", "{name: coo}"]


@dataclass(frozen=True)
class Pair:
    """One learning problem, and two settings of the rest."""

    seed: int
    learning: str
    protocol: str
    topology: str
    has_server: bool
    base: dict[str, str]
    other: dict[str, str]

    def text(self, settings: dict[str, str]) -> str:
        """A scenario, in YAML."""
        return SCENARIO.format(
            seed=self.seed,
            learning=self.learning,
            protocol=self.protocol,
            topology=self.topology,
            **settings,
        )

    def changes(self) -> list[str]:
        """What leads from the first settings to the second."""
        paths = {
            "devices": "platform.devices",
            "network": "platform.network",
            "evaluate_every": "record.evaluate_every",
        }
        return [f"{paths.get(key, key)}={value}" for key, value in self.other.items()]


def drawn_pair(draw: random.Random) -> Pair:
    """Two random settings."""
    has_server = draw.random() < 0.6
    if has_server:
        cohort = draw.choice(["null", "2", "3"])
        protocol = f"{{name: synchronous, rounds: {ROUNDS}, cohort: {cohort}}}"
        topology = "{name: star}"
    else:
        protocol = f"{{name: neighborhood, rounds: {ROUNDS}}}"
        topology = draw.choice(["{name: ring}", "{name: random_graph, probability: 0.6}"])
    prunes = has_server and draw.random() < 0.7
    learning = LEARNING.format(
        model=draw.choice(["lenet_300_100", "simple_cnn"]) if prunes else "simple_cnn",
        algorithm=draw.choice(PRUNEFL if prunes else FEDAVG),
    ).strip()
    # as many of each group: who holds which data is part of what is learnt
    counts = draw.choice([(2, 2), (1, 3), (3, 2)])
    machines = ["pi3", "pi4"] if prunes else ["pi3", "pi4", "g3s_xlarge"]
    base, other = (drawn_settings(draw, counts, machines, has_server) for _ in range(2))
    return Pair(draw.randrange(1000), learning, protocol, topology, has_server, base, other)


def drawn_settings(
    draw: random.Random, counts: tuple[int, int], machines: list[str], has_server: bool
) -> dict[str, str]:
    """All that changes nothing of what is computed, but its extent."""
    groups = {
        name: f"{{model: {draw.choice(machines)}, count: {count}}}"
        for name, count in zip("ab", counts, strict=True)
    }
    if has_server:
        groups = {"server": f"{{model: {draw.choice(['pi4', 'g3s_xlarge'])}}}", **groups}
    stop = {}
    if draw.random() < 0.4:
        stop["time"] = f"{draw.uniform(1, 40):.3f} s"
    if draw.random() < 0.3:
        stop["bytes"] = f"{draw.randrange(100, 20_000)} kB"
    return {
        "devices": written(groups),
        "network": drawn_network(draw, has_server),
        "codec": draw.choice(CODECS),
        "stop": written(stop),
        "evaluate_every": draw.choice(["1", "1", "1", "1", "2", "null"]),
    }


def drawn_network(draw: random.Random, has_server: bool) -> str:
    """One cell or an access link for everybody, ideal or with TCP."""

    def rate() -> str:
        return f"{10 ** draw.uniform(-0.5, 2):.2f} Mbit/s"

    def pause() -> str:
        return f"{draw.randrange(500)} ms"

    if draw.random() < 0.4:
        link = draw.choice(
            ["lte", "adsl", "wifi_5ghz", "{down: 9 Mbit/s, up: 2 Mbit/s, loss: 0.003}"]
        )
        transport = draw.choice(["{}", "{windows: false}", "{congestion_control: reno}"])
        return f"{{kind: star, access: {link}, transport: {transport}}}"
    if draw.random() < 0.2:
        return (
            f"{{kind: cells, cells: {draw.choice([1, 2])}, wifi: wifi_pi_2.4ghz, backbone: fibre}}"
        )
    if draw.random() < 0.5:
        cell = {"kind": "shared_medium", "rate": rate(), "exchange_overhead": pause()}
        if draw.random() < 0.5:
            cell["rates"] = f"{{b: {rate()}}}"
        return written(cell)
    links = {"kind": "access_links", "down": rate(), "up": rate(), "latency": pause()}
    if has_server and draw.random() < 0.5:
        links |= {"server_down": rate(), "server_up": rate()}
    return written(links)


def written(mapping: dict[str, str]) -> str:
    """In one line of YAML."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in mapping.items()) + "}"


def tables(trace: simfl.Trace) -> dict[str, bytes]:
    """Every table as it is stored."""
    return {table: trace.raw(table).tobytes() for table in COLUMNS}


def differences(one: simfl.Trace, other: simfl.Trace) -> list[str]:
    """Names of the tables that are not equal byte for byte, and of the final status."""
    first, second = tables(one), tables(other)
    found = [table for table in COLUMNS if first[table] != second[table]]
    return found + ["status"] * (one.status != other.status)


def misstated(row: dict[str, Any], fresh: simfl.Trace) -> list[str]:
    """Columns of a row that a fresh run contradicts."""
    summary = summarise(fresh)
    columns = ("time_s", "target_s", "rounds", "accuracy", "down_bytes", "up_bytes")
    due = {column: getattr(summary, column) for column in columns}
    due |= {"turns": int((fresh.activities["verb"] == "train").sum()), "status": fresh.status}
    return [
        f"{column} {row[column]} for {value}"
        for column, value in due.items()
        if row[column] != value and not (value != value and isnan(row[column]))
    ]


def not_recorded(base: simfl.Trace, fresh: simfl.Trace) -> int:
    """Turns of a fresh run that another does not hold."""
    activities = fresh.activities[fresh.activities["verb"] == "train"]
    return int((~activities["key"].isin(base.recorded())).sum())


def judged(pair: Pair, folder: Path) -> tuple[str, list[str]]:
    """Play a pair: of which kind it is, and what is wrong."""
    alone: dict[str, Any] = {"store": False, "executor": "inline"}
    base = simfl.run(loads(pair.text(pair.base)), out=folder / "base.h5", **alone)
    fresh = simfl.run(loads(pair.text(pair.other)), out=folder / "fresh.h5", **alone)
    [row] = retimed(base, pair, folder / "timed")
    wrong = []
    if not row["first_anew"]:
        wrong += differences(simfl.Trace(folder / "timed" / "base-0000.h5"), fresh)
        return "re-timed", wrong + misstated(row, fresh)
    missing = not_recorded(base, fresh)
    if row["anew"] != missing:
        wrong.append(f"anew {row['anew']} for {missing}")
    [row] = retimed(base, pair, folder / "trained", train=True, **alone)
    wrong += differences(simfl.Trace(folder / "trained" / "base-0000.h5"), fresh)
    wrong += misstated(row, fresh)
    if row["anew"] != missing:
        wrong.append(f"trained {row['anew']} for {missing}")
    return ("went on" if missing else "evaluated oftener"), wrong


def retimed(base: simfl.Trace, pair: Pair, folder: Path, **options: Any) -> list[dict[str, Any]]:
    """The rows of a what-if at the other settings."""
    rows: list[dict[str, Any]] = []
    simfl.whatif(base, *pair.changes(), folder=folder, on_point=rows.append, **options)
    return rows


def main() -> None:
    """Play the pairs; exit with 1 if any was not exact."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun_s, kinds, bad = time.monotonic(), Counter[str](), 0
    for number in range(args.pairs):
        # each pair by its own number: the same, however many there are
        pair = drawn_pair(random.Random(f"{args.seed} {number}"))
        with tempfile.TemporaryDirectory() as folder:
            kind, wrong = judged(pair, Path(folder))
        kinds[kind] += 1
        if wrong:
            bad += 1
            print(f"pair {number}, {kind}: {'; '.join(wrong)}")
            print(pair.text(pair.base) + "\n".join(pair.changes()) + "\n", flush=True)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    spent_s = time.monotonic() - begun_s
    print(f"{args.pairs - bad} of {args.pairs} pairs byte for byte ({told}); {spent_s:.0f} s")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
