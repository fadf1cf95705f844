"""What every carrier keeps, whatever the wires; and where the two kinds must agree."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment, Interrupt, Process
from small_wires import Send, SmallWires, carrying, cell, duplex, fork, line, play, sums, took_s

from simfl.cost.rate_trace import RateTrace
from simfl.cost.wires import Cell, Hop, Link
from simfl.errors import NetworkError
from simfl.events.activity import Activity
from simfl.events.network import Cut, Network

KINDS = pytest.mark.parametrize("windows", [True, False], ids=["windows", "fair"])
RATES_BPS = st.sampled_from([3e5, 2e6, 10e6, 100e6])
LATENCIES_S = st.sampled_from([0.0, 0.001, 0.03])


@st.composite
def traces(draw: st.DrawFn) -> RateTrace:
    """Rates that change within a second or so, outages among them; sooner or later it goes on."""
    rates = draw(st.lists(st.sampled_from([0.0, 1e6, 5e6, 20e6]), min_size=1, max_size=3))
    lengths = draw(st.lists(st.sampled_from([0.1, 0.25, 1.0]), min_size=3, max_size=3))
    times = [sum(lengths[:place]) for place in range(len(rates) + 1)]
    period_s = draw(st.sampled_from([None, times[-1] + 0.5]))
    return RateTrace(times, [*rates, 4e6], period_s=period_s)


@st.composite
def links(draw: st.DrawFn, name: str) -> Link:
    """A wire, maybe with a trace, loss, or a queue of its own for each flow."""
    rate_bps = draw(RATES_BPS)
    return Link(
        name=name,
        rate_bps=draw(st.sampled_from([rate_bps, rate_bps, rate_bps, inf])),
        latency_s=draw(LATENCIES_S),
        jitter_s=draw(st.sampled_from([0.0, 0.0, 0.01])),
        loss=draw(st.sampled_from([0.0, 0.0, 0.02])),
        queue_bytes=draw(st.sampled_from([inf, 15_000.0, 300_000.0])),
        discipline=draw(st.sampled_from(["drop_tail", "fq_codel"])),
        trace=draw(st.none() | st.none() | traces()),
    )


@st.composite
def networks(draw: st.DrawFn) -> SmallWires:
    """A server behind two links, and three clients: by wire, or in one cell."""
    given = [draw(links("server-down")), draw(links("server-up"))]
    stations: list[str] = []
    hops: dict[tuple[str, str], tuple[Hop, ...]] = {}
    near: dict[str, tuple[Hop, Hop]] = {}
    for client in "012":
        if draw(st.booleans()):
            stations.append(client)
            continue
        at = len(given)
        given += [draw(links(f"{client}-down")), draw(links(f"{client}-up"))]
        near[client] = Hop(at), Hop(at + 1)
    if stations:
        rates = [draw(st.sampled_from([6e6, 54e6])) for _ in stations]
        medium = Cell(
            station_bps=rates,
            access_s=draw(st.sampled_from([0.0, 1e-4])),
            aggregation=draw(st.sampled_from([1, 16])),
        )
        air = len(given)
        given.append(Link(name="air", rate_bps=0.0, latency_s=draw(LATENCIES_S), cell=medium))
        near |= {client: (Hop(air, n), Hop(air, n)) for n, client in enumerate(stations)}
    for one, (down, up) in near.items():
        hops["server", one], hops[one, "server"] = (Hop(0), down), (up, Hop(1))
        hops |= {(one, it): (up, near[it][0]) for it in near if it != one}
    return SmallWires(given, hops)


@st.composite
def sends(draw: st.DrawFn) -> Send:
    """From one of four places to another; some are given up."""
    source, target = draw(st.permutations(["server", "0", "1", "2"]))[:2]
    at_s = draw(st.sampled_from([0.0, 0.0, 0.1]) | st.floats(0, 1))
    until_s = draw(st.sampled_from([inf, inf, inf, at_s + 0.2]))
    return Send(at_s, source, target, draw(st.integers(0, 200_000)), until_s)


def fastest_s(wires: SmallWires, send: Send) -> float:
    """No message can be there sooner: latencies, and its bits at the narrowest link's peak."""
    path = wires.path(send.source, send.target)
    assert path is not None
    given = [(wires.links[hop.link], hop.station) for hop in path.out]
    peaks = [
        link.cell.station_bps[station]
        if link.cell
        else max(link.trace.rates_bps if link.trace else [link.rate_bps])
        for link, station in given
    ]
    return sum(link.latency_s for link, _ in given) + 8 * send.nbytes / min(peaks)


@KINDS
@pytest.mark.parametrize("setup", ["warm", "cold"])
@given(wires=networks(), messages=st.lists(sends(), min_size=1, max_size=8), data=st.data())
def test_everything_arrives_and_nothing_is_lost_on_the_way(
    windows: bool, setup: str, wires: SmallWires, messages: list[Send], data: st.DataObject
) -> None:
    env = Environment()
    network = Network(env, carrying(wires, windows=windows, connection_setup=setup), verify=True)
    ends = [inf] * len(messages)
    crossed: list[tuple[int, int]] = []

    def one(number: int, send: Send) -> Activity[None]:
        yield env.timeout(send.at_s)
        try:
            yield from network.transfer(send.source, send.target, send.nbytes)
            ends[number] = env.now
        except Cut as given_up:
            crossed.append((given_up.crossed_bytes, send.nbytes))
        except Interrupt:
            pass

    def cut(process: Process, until_s: float) -> Activity[None]:
        yield env.timeout(until_s)
        if process.is_alive:
            process.interrupt()

    for number, send in enumerate(messages):
        process = env.process(one(number, send))
        if send.until_s < inf:
            env.process(cut(process, send.until_s))
    # the books are right at any time, not only at the end
    env.run(until=data.draw(st.floats(0.01, 1), label="look at"))
    network.uses()
    env.run()
    assert network.flows == 0
    assert all(0 <= some <= whole for some, whole in crossed)
    for use in network.uses():
        assert use.waiting == 0
        assert 0 <= use.busy <= 1 + 1e-9
    for end_s, send in zip(ends, messages, strict=True):
        if send.until_s == inf:
            assert end_s < inf, "it never ends"
        if end_s < inf:
            assert end_s >= send.at_s + fastest_s(wires, send) - 1e-9


@KINDS
@pytest.mark.parametrize("begin_s", [0.0, 1e4, 1e6, 1e8])
def test_late_in_a_run_no_bit_is_missing(begin_s: float, windows: bool) -> None:
    # what is left of a flow may take less time than the clock can show
    env = Environment(initial_time=begin_s)
    carries = carrying(fork(1e9, [0.01] * 4), windows=windows)
    network = Network(env, carries, verify=True)
    ended = []

    def one(number: int) -> Activity[None]:
        yield env.timeout(0.0137 * number)
        yield from network.transfer("server", str(number % 4), 7_919 * (number + 1))
        ended.append(number)

    for number in range(20):
        env.process(one(number))
    events = 0
    while env.peek() < inf:
        env.step()
        events += 1
        assert events < 1000
    assert len(ended) == 20
    assert next(use.name for use in network.uses()) == "trunk-down"


@pytest.mark.parametrize(
    ("wires", "ways"),
    [
        pytest.param(line(100e6, 0.0002), [("a", "b")], id="alone"),
        pytest.param(fork(100e6, [0.0002] * 3), [("server", to) for to in "012"], id="at one link"),
        pytest.param(
            cell([50e6, 200e6], wan_s=1e-4), [("0", "server"), ("1", "server")], id="by air"
        ),
    ],
)
def test_long_flows_of_both_kinds_agree_where_windows_never_matter(
    wires: SmallWires, ways: list[tuple[str, str]]
) -> None:
    # fair shares know nothing of acknowledgements; BBR's windows stand still, once they are large
    said = {"acknowledgements": False, "congestion_control": "bbr"}
    messages = [Send(0.0, *way, 40_000_000) for way in ways]
    ends = [
        play(carrying(wires, windows=windows, receive_window_bytes=1_448_000, **said), messages)
        for windows in (True, False)
    ]
    assert ends[0] == pytest.approx(ends[1], rel=0.02)


@KINDS
@pytest.mark.parametrize("setup", ["warm", "cold"])
def test_no_bytes_take_the_way_and_the_handshake(windows: bool, setup: str) -> None:
    carries = carrying(line(10e6, 0.1), windows=windows, connection_setup=setup)
    packets_s = 0.0 if setup == "warm" else 0.1 + 2 * 66 * 8 / 10e6
    assert took_s(carries, 0) == pytest.approx(0.05 + packets_s, abs=1e-9)
    assert sums(carries, 1.0) == []
    assert len(carries) == 0


@KINDS
def test_a_place_that_is_not_joined(windows: bool) -> None:
    carries = carrying(line(10e6, 0.1), windows=windows)
    for target in ("a", "x"):
        with pytest.raises(NetworkError, match=f"no route from 'a' to '{target}'"):
            carries.delay_s("a", target, 1)


@KINDS
def test_jitter_is_drawn_anew_for_each_message_also_if_they_leave_together(windows: bool) -> None:
    down, up = (Link(name=name, rate_bps=inf, latency_s=0.01, jitter_s=0.02) for name in "du")

    def ends(seed: int, messages: int) -> list[float]:
        carries = carrying(duplex(down, up), windows=windows, slow_start=False, seed=seed)
        return play(carries, [Send(0.0, "a", "b", 0)] * messages)

    five = ends(1, 5)
    assert len(set(five)) == 5
    assert min(five) > 0.01
    assert ends(1, 3) == five[:3]
    assert ends(2, 5) != five


@KINDS
def test_a_path_over_endless_links_takes_its_latency_and_round_trips(windows: bool) -> None:
    carries = carrying(line(inf, 0.1), windows=windows)
    assert took_s(carries, 1448 * 11) == pytest.approx(0.15, rel=0.01)
    [free] = play(carrying(line(inf, 0.0), windows=windows), [Send(0.0, "a", "b", 10**7)])
    assert free < 1e-4


@KINDS
def test_one_that_starts_when_another_ends_finds_the_link_free(windows: bool) -> None:
    wires = line(8e6, 0.0)
    size = 14_480
    alone_s = took_s(carrying(wires, windows=windows), size)
    both = play(
        carrying(wires, windows=windows),
        [Send(0.0, "a", "b", size), Send(alone_s, "a", "b", size)],
    )
    assert both == pytest.approx([alone_s, 2 * alone_s], abs=1e-9)


@KINDS
def test_links_in_use_and_what_crossed_them(windows: bool) -> None:
    carries = carrying(line(10e6, 0.02), windows=windows, acknowledgements=False)
    flow = carries.start(0.0, "a", "b", 500_000)
    assert flow is not None
    assert carries.next_s() > 0.4
    [(name, load, capacity)] = [it for it in carries.loads(0.3) if it[1]]
    assert (name, load, capacity) == ("down", pytest.approx(10e6, rel=1e-9), 10e6)
    carries.cut(0.3, flow)
    [use] = [it for it in carries.uses(0.3) if it.asked]
    assert use.asked == pytest.approx(4e6 * 1514 / 1448, rel=1e-12)
    assert use.waiting == 0
    assert use.carried + use.cut == pytest.approx(use.asked, rel=1e-12)
    assert use.busy == pytest.approx(use.used / 3e6, rel=1e-12)
    assert len(carries) == 0
    assert carries.next_s() == inf
