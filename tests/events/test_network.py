from collections.abc import Sequence
from itertools import permutations
from math import inf
from random import Random

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment, Interrupt, Process

from simfl.cost.carriers import carrier
from simfl.cost.framing import UNFRAMED
from simfl.cost.rate_trace import RateTrace
from simfl.cost.transport import FLUID
from simfl.cost.wires import Link
from simfl.errors import NetworkError
from simfl.events.activity import Activity
from simfl.events.network import Cut, Network
from simfl.networks.base import Ground, Wiring, join, wire
from simfl.networks.routes import GraphWires
from simfl.registry import NETWORKS

MBIT = 125_000  # bytes
RATES_BPS = {"a": 10e6, "b": 10e6, "c": 10e6, "slow": 5e6, "fast": 20e6}

# (start in seconds, source, target, Mbit)
Transfer = tuple[float, str, str, float]


def wired(kind: str, options: dict[str, object], *clients: str) -> Wiring:
    plugin = NETWORKS.get(kind)
    nodes = {name: name for name in ("server", *clients)}
    return wire(plugin.build, plugin.options(**options), Ground(nodes=nodes, seed=1))


def pair(down: Link, up: Link) -> Wiring:
    """A server and a, joined by two links that carry a fluid."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    join(graph, "a", "server", down, up)
    return Wiring(wires=GraphWires(graph), transport=FLUID, framing=UNFRAMED)


def network_of(env: Environment, wiring: Wiring) -> Network:
    """An idle network, which verifies itself at every event."""
    carries = carrier(wiring.wires, wiring.transport, wiring.framing, seed=1, senders=5)
    return Network(env, carries, verify=True)


def air(overhead_s: float = 0.0) -> Wiring:
    rates = {name: f"{rate} bit/s" for name, rate in RATES_BPS.items()}
    options = {"rates": rates, "exchange_overhead": f"{overhead_s} s"}
    return wired("shared_medium", options, *rates)


def wires(latency_s: float = 0.0, server_up: float | None = None) -> Wiring:
    def link(down: str) -> dict[str, object]:
        return {"down": down, "up": "4 Mbit/s", "latency": f"{latency_s / 2} s"}

    options = {
        "access": link("10 Mbit/s"),
        "access_of": {"slow": link("2 Mbit/s")},
        "server": {
            "down": "1 Tbit/s",
            "up": f"{server_up or 1e12} bit/s",
            "latency": f"{latency_s / 2} s",
        },
        "transport": {"kind": "fluid"},
    }
    return wired("star", options, "a", "b", "c", "slow")


def ends(wiring: Wiring, transfers: Sequence[Transfer]) -> list[float]:
    """When each transfer ends; the network is empty afterwards."""
    env = Environment()
    network = network_of(env, wiring)
    found = [0.0] * len(transfers)

    def one(number: int, transfer: Transfer) -> Activity[None]:
        start_s, source, target, size = transfer
        yield env.timeout(start_s)
        yield from network.transfer(source, target, round(size * MBIT))
        found[number] = env.now

    for number, transfer in enumerate(transfers):
        env.process(one(number, transfer))
    env.run()
    assert network.flows == 0
    network.uses()
    return found


def at(*seconds: float) -> object:
    return pytest.approx(list(seconds), abs=1e-9, rel=0)


@pytest.mark.parametrize("size", [0.001, 1, 10, 4000])
def test_one_flow_alone(size: float) -> None:
    assert ends(air(), [(0, "server", "a", size)]) == at(size / 10)
    assert ends(wires(), [(0, "a", "server", size)]) == at(size / 4)


def test_the_fixed_delay_comes_first_and_holds_nothing() -> None:
    assert ends(air(0.45), [(0, "server", "a", 10)]) == at(1.225)
    assert ends(wires(0.02), [(0, "server", "a", 10)]) == at(1.02)
    # b's message is through before a's first bit
    assert ends(air(2), [(0.5, "a", "server", 5), (0, "b", "server", 5)]) == at(2.0, 1.5)


def test_no_bytes_take_only_the_delay() -> None:
    assert ends(wires(0.02), [(1, "server", "a", 0)]) == at(1.02)


def test_a_way_without_limits_takes_only_the_delay() -> None:
    ways = [Link(name=way, rate_bps=inf, latency_s=0.1) for way in ("down", "up")]
    assert ends(pair(*ways), [(0, "server", "a", 1e6)]) == at(0.1)


def test_a_rate_that_changes_in_mid_flow() -> None:
    # 10 Mbit/s for a second, an outage of two, then 5: 15 Mbit are 10 in the first and 5 in the 4th
    trace = RateTrace([0.0, 1.0, 3.0], [10e6, 0.0, 5e6])
    ways = Link(name="down", rate_bps=10e6, trace=trace), Link(name="up", rate_bps=4e6)
    wiring = pair(*ways)
    assert ends(wiring, [(0, "server", "a", 15)]) == at(4.0)
    assert ends(wiring, [(0, "server", "a", 5), (0.5, "server", "a", 10)]) == at(0.5, 4.0)
    # begun in the outage it waits; the other way has none
    assert ends(wiring, [(2, "server", "a", 5), (2, "a", "server", 4)]) == at(4.0, 3.0)


def test_a_trace_that_comes_again() -> None:
    trace = RateTrace([0.0, 1.0], [3e6, 0.0], period_s=1.5, shift_s=0.5)
    wiring = pair(Link(name="down", rate_bps=3e6, trace=trace), Link(name="up", rate_bps=1e6))
    # up for 0 to 0.5 s, 1 to 2 s, 2.5 to 3.5 s, ...
    assert ends(wiring, [(0, "server", "a", 6)]) == at(3.0)


def test_headers_and_framing_take_their_share() -> None:
    link = {"down": "8 Mbit/s", "up": "8 Mbit/s", "overhead_bytes": 38}
    options: dict[str, object] = {
        "access": link,
        "server": {"down": "1 Tbit/s", "up": "1 Tbit/s"},
        "transport": {"windows": False},
    }
    bare = wired("star", options, "a")
    [alone] = ends(bare, [(0, "server", "a", 8)])
    assert alone == pytest.approx(1538 / 1448, rel=1e-12)
    framed = wired("star", options | {"framing": "grpc"}, "a")
    [longer] = ends(framed, [(0, "server", "a", 8)])
    # 1,000,000 bytes: tag and length 4, prefix 5, 62 frames of 9
    assert longer == pytest.approx(alone * (1 + 567e-6), rel=1e-12)
    written = options | {"framing": {"kind": "none", "serialisation": "2 MB/s"}}
    assert ends(wired("star", written, "a"), [(0, "server", "a", 8)]) == at(alone + 0.5)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_n_equal_flows_take_n_times_as_long(n: int) -> None:
    assert ends(air(), [(0, "server", "a", 10)] * n) == at(*[float(n)] * n)


def test_staggered_arrivals() -> None:
    # a alone until 1 s (10 of 20 Mbit), both at 5 until 3 s, then b alone: 5 Mbit in 0.5 s
    flows = [(0, "server", "a", 20), (1, "server", "b", 15)]
    assert ends(air(), flows) == at(3.0, 3.5)


def test_three_staggered_arrivals() -> None:
    # left at 1 s: 20 of a; at 2 s: 15 of a, 10 of b, 5 of c. A third of 10 each: c over at 3.5 s.
    # Then 10 and 5 at 5 each: b over at 4.5 s; then the last 5 of a at 10
    flows = [(0, "a", "server", 30), (1, "b", "server", 15), (2, "c", "server", 5)]
    assert ends(air(), flows) == at(5.0, 4.5, 3.5)


def test_stations_of_unequal_rate_share_throughput_not_airtime() -> None:
    # 1 / (1/5 + 1/20) = 4 Mbit/s each; when the slow one is done, the fast one has its 20
    flows = [(0, "slow", "server", 4), (0, "fast", "server", 24)]
    assert ends(air(), flows) == at(1.0, 2.0)


def test_the_air_is_half_duplex_and_wires_are_not() -> None:
    both = [(0, "server", "a", 10), (0, "a", "server", 10)]
    assert ends(air(), both) == at(2.0, 2.0)
    assert ends(wires(), both) == at(1.0, 2.5)


def test_between_two_stations_the_air_is_crossed_twice() -> None:
    assert ends(air(), [(0, "a", "b", 10)]) == at(2.0)


def test_a_flow_limited_at_its_own_link_leaves_the_rest() -> None:
    # 9 Mbit/s at the server: 2 for the slow one, 7 for a; then all 9, of which a's link lets 9
    flows = [(0, "server", "slow", 2), (0, "server", "a", 16)]
    assert ends(wires(server_up=9e6), flows) == at(1.0, 2.0)


def test_an_interrupted_flow_gives_its_rate_back() -> None:
    env = Environment()
    network = network_of(env, air())
    log = []

    def one(name: str, size: int) -> Activity[None]:
        try:
            yield from network.transfer(name, "server", size * MBIT)
            log.append((name, env.now, "done"))
        except Cut as cut:
            log.append((name, env.now, cut.crossed_bytes))

    def cut(process: Process, when_s: float) -> Activity[None]:
        yield env.timeout(when_s)
        process.interrupt()

    env.process(one("a", 20))
    env.process(cut(env.process(one("b", 100)), 2.0))
    env.run()
    # 5 Mbit/s each until 2 s, then a's last 10 Mbit at 10
    assert log == [("b", 2.0, 10 * MBIT), ("a", pytest.approx(3.0, abs=1e-9), "done")]
    assert network.flows == 0


def test_interrupted_before_its_first_bit_nothing_was_held() -> None:
    env = Environment()
    network = network_of(env, air(overhead_s=2.0))
    cut: list[float] = []

    def one() -> Activity[None]:
        try:
            yield from network.transfer("a", "server", MBIT)
        except Interrupt:
            cut.append(env.now)

    process = env.process(one())
    env.run(until=0.5)
    process.interrupt()
    env.run()
    assert cut == [0.5]
    assert network.flows == 0


def test_a_place_that_is_not_joined() -> None:
    env = Environment()
    with pytest.raises(NetworkError, match="no route from 'a' to 'x'; the network does not join"):
        env.run(env.process(network_of(env, air()).transfer("a", "x", 1)))


SIMULTANEOUS: list[Transfer] = [
    (0, "server", "a", 3),
    (0, "slow", "server", 1),
    (0, "server", "fast", 7),
    (0.5, "b", "server", 2),
]


@pytest.mark.parametrize("order", list(permutations(range(4)))[::3])
@pytest.mark.parametrize("wiring", [air(), air(0.3)], ids=["bare", "with overhead"])
def test_the_order_of_simultaneous_starts_does_not_matter(
    wiring: Wiring, order: tuple[int, ...]
) -> None:
    straight = ends(wiring, SIMULTANEOUS)
    shuffled = ends(wiring, [SIMULTANEOUS[i] for i in order])
    assert shuffled == at(*(straight[i] for i in order))


@given(
    st.lists(
        st.tuples(
            st.floats(0, 5),
            st.sampled_from(["a", "b", "slow", "fast"]),
            st.booleans(),
            st.floats(0.001, 50),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_cell_is_never_idle_and_never_faster_than_its_stations(
    drawn: list[tuple[float, str, bool, float]],
) -> None:
    wiring = air()
    flows = [
        (start, station, "server", size) if up else (start, "server", station, size)
        for start, station, up, size in drawn
    ]
    found = ends(wiring, flows)
    # the airtime of each message, summed over busy periods, is all the time that passes
    airtimes = [round(size * MBIT) * 8 / RATES_BPS[station] for _, station, _, size in drawn]
    busy_until = 0.0
    for start, airtime in sorted(zip([f[0] for f in flows], airtimes, strict=True)):
        busy_until = max(busy_until, start) + airtime
    assert max(found) == pytest.approx(busy_until, abs=1e-6)
    for end, (start, *_), airtime in zip(found, flows, airtimes, strict=True):
        assert end >= start + airtime - 1e-6


@pytest.mark.parametrize("begin_s", [0.0, 4090.0, 1e4, 1e6, 1e8])
def test_late_in_a_run_flows_still_end(begin_s: float) -> None:
    # what is left of a flow may take less time than the clock can show
    random = Random(1)
    env = Environment(initial_time=begin_s)
    network = network_of(env, air())
    done = []

    def one(station: str) -> Activity[None]:
        yield env.timeout(random.random())
        yield from network.transfer(station, "server", random.randint(5_000, 2_000_000))
        done.append(station)

    for station in ("a", "b", "slow", "fast") * 5:
        env.process(one(station))
    events = 0
    while env.peek() < float("inf"):
        env.step()
        events += 1
        assert events < 1000
    assert len(done) == 20
    assert network.flows == 0
