from collections.abc import Sequence
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment, Interrupt, Process

from simfl.cost.link import AccessLinksModel, NetworkModel, SharedMediumModel
from simfl.errors import NetworkError
from simfl.events.activity import Activity
from simfl.events.network import Network

MBIT = 125_000  # bytes

# (start in seconds, source, target, Mbit)
Transfer = tuple[float, str, str, float]


def air(overhead_s: float = 0.0) -> SharedMediumModel:
    rates = {"a": 10e6, "b": 10e6, "c": 10e6, "slow": 5e6, "fast": 20e6}
    return SharedMediumModel(rates_bps=rates, exchange_overhead_s=overhead_s)


def wires(latency_s: float = 0.0, server_up: float | None = None) -> AccessLinksModel:
    clients = dict.fromkeys(("a", "b", "c"), 10e6) | {"slow": 2e6}
    limit = {} if server_up is None else {"server": server_up}
    return AccessLinksModel(
        down_bps=clients,
        up_bps=dict.fromkeys(clients, 4e6) | limit,
        latency_s=latency_s,
        places=frozenset({"server", *clients}),
    )


def ends(model: NetworkModel, transfers: Sequence[Transfer]) -> list[float]:
    """When each transfer ends; the network is empty afterwards."""
    env = Environment()
    network = Network(env, model)
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
    free = AccessLinksModel(
        down_bps={}, up_bps={}, latency_s=0.1, places=frozenset({"server", "a"})
    )
    assert ends(free, [(0, "server", "a", 1e6)]) == at(0.1)


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
    network = Network(env, air())
    log = []

    def one(name: str, size: int) -> Activity[None]:
        try:
            yield from network.transfer(name, "server", size * MBIT)
            log.append((name, env.now, "done"))
        except Interrupt:
            log.append((name, env.now, "cut"))

    def cut(process: Process, when_s: float) -> Activity[None]:
        yield env.timeout(when_s)
        process.interrupt()

    env.process(one("a", 20))
    env.process(cut(env.process(one("b", 100)), 2.0))
    env.run()
    # 5 Mbit/s each until 2 s, then a's last 10 Mbit at 10
    assert log == [("b", 2.0, "cut"), ("a", pytest.approx(3.0, abs=1e-9), "done")]
    assert network.flows == 0


def test_interrupted_before_its_first_bit_nothing_was_held() -> None:
    env = Environment()
    network = Network(env, air(overhead_s=2.0))
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
        env.run(env.process(Network(env, air()).transfer("a", "x", 1)))


SIMULTANEOUS: list[Transfer] = [
    (0, "server", "a", 3),
    (0, "slow", "server", 1),
    (0, "server", "fast", 7),
    (0.5, "b", "server", 2),
]


@pytest.mark.parametrize("order", list(permutations(range(4)))[::3])
@pytest.mark.parametrize("model", [air(), air(0.3)], ids=["bare", "with overhead"])
def test_the_order_of_simultaneous_starts_does_not_matter(
    model: NetworkModel, order: tuple[int, ...]
) -> None:
    straight = ends(model, SIMULTANEOUS)
    shuffled = ends(model, [SIMULTANEOUS[i] for i in order])
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
    model = air()
    flows = [
        (start, station, "server", size) if up else (start, "server", station, size)
        for start, station, up, size in drawn
    ]
    found = ends(model, flows)
    # the airtime of each message, summed over busy periods, is all the time that passes
    airtimes = [round(size * MBIT) * 8 / model.rates_bps[station] for _, station, _, size in drawn]
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
    network = Network(env, air())
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
