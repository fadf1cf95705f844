"""SimGrid 4 on one case of network_scale.py: one line of JSON.

    SIMGRID_PYTHON simgrid_driver.py CASE

Model `raw` without latency and without cross-traffic: equal shares, as in the case. The chains are
SimGrid's own communication tasks, which run in C++ without Python in between; one actor starts
them. Timed: all, and the run alone, without making the platform.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter

BEGUN_S = perf_counter()
sys.path.insert(0, str(Path(__file__).parent.parent))

from network_cases import named  # noqa: E402
from simgrid import CommTask, Engine, LinkInRoute, this_actor  # noqa: E402


def main() -> None:
    """Run it."""
    case = named(sys.argv[1])
    settings = ["network/model:raw", "network/crosstraffic:0"]
    words = [f"--cfg={it}" for it in settings]
    engine = Engine(["simgrid_driver", *words, "--log=root.thres:warning"])
    zone = engine.netzone_root.add_netzone_star("star")
    links = []
    for number, rate_bps in enumerate(case.links_bps):
        link = zone.add_link(f"l{number}", rate_bps / 8)
        link.set_latency(0.0)
        link.seal()
        links.append(LinkInRoute(link))
    # a zone of this kind gives any route: all of it lies at the message's source
    sink = zone.add_host("sink", 1e9)
    zone.add_route(None, sink, [], False)
    zone.add_route(sink, None, [], False)
    chains = []
    for chain in range(len(case.starts_s)):
        tasks = []
        for leg in range(case.legs):
            host = zone.add_host(f"h{chain}-{leg}", 1e9)
            zone.add_route(host, None, [links[it] for it in case.route(chain, leg)], False)
            zone.add_route(None, host, [], False)
            size_bytes = case.size_bytes(chain)
            tasks.append(CommTask.init(f"m{chain}-{leg}", size_bytes, host, sink))
            if leg:
                tasks[leg - 1].add_successor(tasks[leg])
        chains.append(tasks)
    zone.seal()

    def driver() -> None:
        for start_s, tasks in zip(case.starts_s, chains, strict=True):
            if start_s > Engine.clock:
                this_actor.sleep_until(start_s)
            tasks[0].enqueue_firings(1)

    sink.add_actor("driver", driver)
    ready_s = perf_counter()
    engine.run()
    ended_s = perf_counter()
    assert all(tasks[-1].get_count() == 1 for tasks in chains), "a chain did not finish"
    told = {
        "simulated_s": engine.clock,
        "run_s": ended_s - ready_s,
        "wall_s": ended_s - BEGUN_S,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
