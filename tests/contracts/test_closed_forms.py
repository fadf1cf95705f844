"""Protocols against what a person works out, to 1e-9: links without TCP, nothing trained."""

from collections.abc import Callable
from typing import Any

import pytest
import simpy
from simpy import Environment

import simfl
from simfl.assembly import build
from simfl.memo import Received
from simfl.planning import Forecast, Tape
from simfl.running import Parts, Simulation
from simfl.work import Participant, Turn

DOWN_BPS, UP_BPS = 20e6, 5e6
NETWORK = (
    "platform.network={kind: access_links, down: 20 Mbit/s, up: 5 Mbit/s, latency: 0 s, "
    "server_down: 100 Gbit/s, server_up: 100 Gbit/s}"
)
PEERS = "platform.network={kind: access_links, down: 20 Mbit/s, up: 5 Mbit/s, latency: 0 s}"
SERVED = (
    "platform.devices={server: {model: g3s_xlarge}, pi3: {model: pi3, count: 2}, "
    "pi4: {model: pi4, count: 3}}"
)
SHORT = ("learning.local={learning_rate: 0.1, batch_size: 8, steps: 10}",)
EQUAL = "platform.devices={server: {model: g3s_xlarge}, pi4: {model: pi4, count: 6}}"
EXACT = pytest.approx


def played(name: str, *changes: str) -> tuple[Parts, Tape, dict[int, float], Environment]:
    """By counting: what happened, and when each round was over."""
    parts = build(simfl.load(name, ["learning.model={name: simple_cnn}", *changes]))
    tape, env, ends = Tape(), simpy.Environment(), dict[int, float]()

    def promise(verb: Callable[..., Any], *args: Any) -> Forecast:
        return Forecast(verb, args, parts.algorithm.forecast)

    def observe(round: int, state: Any, node: Any = None, updates: int = 0) -> None:
        ends[round] = max(env.now, ends.get(round, 0.0))

    Simulation(env, parts, tape, promise, observe).play()
    return parts, tape, ends, env


def counts(parts: Parts) -> tuple[Any, float]:
    """The model's counts, and bits of a message."""
    manifest = parts.algorithm.forecast()
    return manifest, 8.0 * parts.codec.nbytes(manifest)


def verb_s(parts: Parts, node: str, verb: str, *args: Any) -> float:
    work = parts.algorithm.work[verb](parts.algorithm, *args)
    return parts.devices[node].seconds(work)


def visit_s(parts: Parts, node: str, index: int, turn: int = 1) -> float:
    """Down, adopt, train, up: of a client with a link of its own."""
    manifest, bits = counts(parts)
    sent = Received(manifest, Participant(index=-1, samples=0))
    computing_s = verb_s(parts, node, "adopt", None, sent)
    computing_s += verb_s(parts, node, "train", manifest, Turn(index, turn))
    return bits / DOWN_BPS + computing_s + bits / UP_BPS


def aggregate_s(parts: Parts, node: str, updates: int) -> float:
    manifest, _ = counts(parts)
    received = tuple(Received(manifest, Participant(index=i, samples=1)) for i in range(updates))
    return verb_s(parts, node, "aggregate", manifest, received)


def clients(parts: Parts) -> dict[str, int]:
    return {node: i for node, i in parts.scenario.platform.indices.items() if i >= 0}


def test_a_synchronous_round_is_as_long_as_its_slowest_client() -> None:
    parts, _, ends, _ = played(
        "smoke/fedavg_access_links", SERVED, NETWORK, "protocol={name: synchronous, rounds: 3}"
    )
    slowest_s = max(visit_s(parts, node, index) for node, index in clients(parts).items())
    round_s = slowest_s + aggregate_s(parts, "server", 5)
    for number in (1, 2, 3):
        assert ends[number] - ends[number - 1] == EXACT(round_s, rel=1e-9)


def test_a_deadline_is_the_rounds_length_where_nobody_is_fast_enough() -> None:
    parts, tape, ends, _ = played(
        "smoke/fedavg_access_links",
        *(SERVED, NETWORK),
        "protocol={name: semi_synchronous, rounds: 3, cohort: 5, over_selection: 1.0, "
        "deadline: 250 ms}",
    )
    assert all(visit_s(parts, node, index) > 0.25 for node, index in clients(parts).items())
    assert [ends[n] for n in (0, 1, 2, 3)] == EXACT([0.0, 0.25, 0.5, 0.75], rel=1e-9)
    assert all(span.end_s <= 0.75 for span in tape.spans)


def test_the_first_of_many_are_the_round() -> None:
    parts, _, ends, _ = played(
        "smoke/fedavg_access_links",
        *(SERVED, NETWORK),
        "protocol={name: semi_synchronous, rounds: 2, cohort: 3, over_selection: 1.7}",
    )
    times_s = sorted(visit_s(parts, node, index) for node, index in clients(parts).items())
    round_s = times_s[2] + aggregate_s(parts, "server", 3)
    assert ends[1] == EXACT(round_s, rel=1e-9)
    assert ends[2] == EXACT(2 * round_s, rel=1e-9)


@pytest.mark.parametrize("buffer", [1, 2, 3, 6])
def test_fedbuffs_throughput_is_n_over_k_turns(buffer: int) -> None:
    clients, waves = 6, 4
    steps = clients // buffer
    parts, _, ends, _ = played(
        "smoke/fedavg_access_links",
        *(EQUAL, NETWORK, *SHORT),
        f"protocol={{name: asynchronous, rounds: {waves * steps}, buffer: {buffer}}}",
    )
    turn_s = visit_s(parts, "pi4-0", 0)
    # the first wave comes at one turn; its last step waits for the server's work on all of it
    assert turn_s < ends[steps] < 1.01 * turn_s
    # from the second on, every update is one wave old: n / K steps in a turn
    for wave in range(2, waves):
        took_s = ends[(wave + 1) * steps] - ends[wave * steps]
        assert took_s == EXACT(turn_s, rel=1e-9)


def test_a_ring_of_equal_peers_on_equal_links() -> None:
    parts, _, ends, _ = played(
        "smoke/ring", PEERS, "platform.devices={pi4: {model: pi4, count: 6}}", *SHORT
    )
    manifest, bits = counts(parts)
    received = tuple(Received(manifest, Participant(index=i, samples=1)) for i in range(2))
    # two messages share each peer's uplink
    round_s = verb_s(parts, "pi4-0", "train", manifest, Turn(0, 1)) + 2 * bits / UP_BPS
    round_s += verb_s(parts, "pi4-0", "mix", manifest, received)
    for number in range(1, 5):
        assert ends[number] - ends[number - 1] == EXACT(round_s, rel=1e-9)


def test_a_hierarchy_is_the_sum_of_its_parts() -> None:
    devices = (
        "platform.devices={server: {model: g3s_xlarge}, edge: {model: g3s_xlarge, count: 2, "
        "role: aggregate}, pi4: {model: pi4, count: 4}}"
    )
    parts, _, ends, _ = played("smoke/hierarchy", devices, PEERS, *SHORT)
    _, bits = counts(parts)
    # two clients share their aggregator's own 5 Mbit/s down to them; its 20 are enough for both up
    visit = visit_s(parts, "pi4-0", 0) + 2 * bits / UP_BPS - bits / DOWN_BPS
    inner_s = visit + aggregate_s(parts, "edge-0", 2)
    above_s = bits / DOWN_BPS + bits / UP_BPS + aggregate_s(parts, "server", 2)
    for number in (1, 2, 3):
        round_s = ends[number] - ends[number - 1]
        assert round_s == EXACT(2 * inner_s + above_s, rel=1e-9)
