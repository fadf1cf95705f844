"""What sharing costs: a star of up to 100,000 clients, and 10,000 flows on a graph of 1,000 nodes.

    python analysis/benchmarks/network_scale.py [--clients 1000,10000,100000] [--simgrid PYTHON]

Each figure is a process of its own, with its wall time and peak memory: `engine` is the sharing
alone, `processes` a SimPy process for each client through simfl.events.network, `simgrid` the
same case through SimGrid's Python binding, run by the interpreter that is named. The run is timed
without imports and making the network; numba, where it is needed, is compiled and cached before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from itertools import pairwise
from math import inf, log2
from pathlib import Path
from random import Random
from time import perf_counter

import networkx as nx
from network_cases import SIZE_BYTES, Case, named
from simpy import Environment

from simfl.cost import wires
from simfl.cost.bundles import Bundles
from simfl.cost.carriers import carrier
from simfl.cost.fair import fitting
from simfl.cost.flows import Flows
from simfl.cost.transport import FLUID
from simfl.events.activity import Activity
from simfl.events.network import Network

DRIVER = Path(__file__).parent / "peers" / "simgrid_driver.py"


def engine_alone(case: Case) -> float:
    """Play a case on the engine; gives the simulated seconds."""
    flows: Flows = Bundles(case.links_bps)
    # chain and leg of each flow in progress
    under_way: dict[int, tuple[int, int]] = {}
    waiting = 0
    now_s = 0.0

    def send(chain: int, leg: int) -> None:
        links = case.route(chain, leg)
        bits = 8.0 * case.size_bytes(chain)
        under_way[flows.start(now_s, links, (1.0,) * len(links), bits)] = chain, leg

    while True:
        flows = fitting(flows)
        end_s = flows.next_end_s()
        start_s = case.starts_s[waiting] if waiting < len(case.starts_s) else inf
        if min(end_s, start_s) == inf:
            return now_s
        now_s = min(end_s, start_s)
        if end_s == now_s:
            for flow in flows.ended(now_s):
                chain, leg = under_way.pop(flow)
                if leg + 1 < case.legs:
                    send(chain, leg + 1)
        while waiting < len(case.starts_s) and case.starts_s[waiting] == now_s:
            send(waiting, 0)
            waiting += 1


class Given:
    """A case as wires: from a chain, to a leg."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.links = [
            wires.Link(name=str(number), rate_bps=rate_bps)
            for number, rate_bps in enumerate(case.links_bps)
        ]

    def path(self, source: str, target: str) -> wires.Path | None:
        """The links of a chain's leg; a fluid has nothing that comes back."""
        hops = self._case.route(int(source), int(target))
        return wires.Path(tuple(map(wires.Hop, hops)), ())


def with_processes(case: Case) -> float:
    """Play a case by SimPy processes on a network; gives the simulated seconds."""
    env = Environment()
    network = Network(env, carrier(Given(case), FLUID, seed=0, senders=len(case.starts_s)))

    def client(chain: int) -> Activity[None]:
        yield env.timeout(case.starts_s[chain])
        for leg in range(case.legs):
            yield from network.transfer(str(chain), str(leg), case.size_bytes(chain))

    for chain in range(len(case.starts_s)):
        env.process(client(chain))
    env.run()
    assert network.flows == 0
    return env.now


def measure(name: str, way: str) -> None:
    """One case, in this process: a line of JSON."""
    case = named(name)
    begun_s = perf_counter()
    simulated_s = engine_alone(case) if way == "engine" else with_processes(case)
    run_s = perf_counter() - begun_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"simulated_s": simulated_s, "run_s": run_s, "peak_mib": peak_mib}))


def write_graph(path: Path, *, nodes: int, flows: int) -> None:
    """A random graph of four links a node; shortest paths; sizes about 1 MB; starts over 10 s."""
    random = Random(1)
    wires = nx.random_regular_graph(4, nodes, seed=1)
    links_bps: list[float] = []
    index: dict[tuple[int, int], int] = {}
    for one, other in wires.edges:
        for way in ((one, other), (other, one)):
            index[way] = len(links_bps)
            links_bps.append(random.choice([10e6, 100e6, 1e9]))
    routes: list[list[int]] = []
    for _ in range(flows):
        way = nx.bidirectional_shortest_path(wires, *random.sample(range(nodes), 2))
        routes.append(sorted(index[hop] for hop in pairwise(way)))
    data = {
        "links_bps": links_bps,
        "routes": routes,
        "sizes_bytes": [round(SIZE_BYTES * random.uniform(0.5, 1.5)) for _ in routes],
        "starts_s": sorted(random.choice([0.0, random.uniform(0, 10)]) for _ in routes),
    }
    path.write_text(json.dumps(data))


def tell(name: str, title: str, flows: int, simgrid: str | None) -> dict[str, float]:
    """Measure one case each way and print; gives the seconds by way."""
    here = [sys.executable, __file__, "--one", name]
    ways = {"engine": [*here, "engine"], "processes": [*here, "processes"]}
    if simgrid:
        ways["simgrid"] = [simgrid, str(DRIVER), name]
    seconds: dict[str, float] = {}
    for way, words in ways.items():
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            told = (done.stderr or "no word").strip().splitlines()[-1]
            print(f"{title:28} {way:10} failed ({done.returncode}): {told}", flush=True)
            continue
        line = json.loads(done.stdout.splitlines()[-1])
        seconds[way] = line["run_s"]
        print(
            f"{title:28} {way:10} {line['run_s']:8.2f} s {flows / line['run_s']:10,.0f} flows/s "
            f"{1e6 * line['run_s'] / flows:7.1f} us/flow {line['peak_mib']:6} MiB   "
            f"simulated {line['simulated_s']:.6f} s",
            flush=True,
        )
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default="1000,10000,100000")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--simgrid", metavar="PYTHON", help="an interpreter with SimGrid's binding")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(*args.one)
        return
    if not args.simgrid:
        print("without SimGrid: --simgrid names no interpreter")
    clients = [int(it) for it in args.clients.split(",")]
    for starts in ("once", "staggered"):
        each: dict[str, list[float]] = {}
        for n in clients:
            title = f"star, {n} clients, {starts}"
            for way, run_s in tell(f"star:{n}:{starts}", title, 2 * n, args.simgrid).items():
                each.setdefault(way, []).append(run_s / (2 * n))
        for way, per_flow in each.items():
            if len(per_flow) == len(clients) > 1:
                grown = per_flow[-1] / per_flow[0]
                logs = log2(clients[-1]) / log2(clients[0])
                print(f"  {way}: cost per flow grew {grown:.2f} x, log n {logs:.2f} x")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.json"
        write_graph(path, nodes=args.nodes, flows=args.flows)
        # compile, if nothing is cached, outside of what is timed
        words = [sys.executable, __file__, "--one", f"graph:{path}", "engine"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        tell(f"graph:{path}", f"graph, {args.nodes} nodes", args.flows, args.simgrid)


if __name__ == "__main__":
    main()
