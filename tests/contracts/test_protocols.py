import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import networkx as nx
import pytest
import simpy

import simfl
from simfl import simulation
from simfl.assembly import build
from simfl.availability.base import Spell
from simfl.cost.wires import Link, Wires
from simfl.cost.wires import Path as Route
from simfl.errors import ProtocolError
from simfl.events.node import Node
from simfl.planning import Forecast, Tape
from simfl.recording import Progress
from simfl.registry import PROTOCOLS
from simfl.running import Parts, Simulation
from simfl.simulation import Listeners

# for every protocol a scenario
SCENARIOS = {
    "asynchronous": "smoke/fedbuff",
    "gossip": "smoke/gossip",
    "hierarchical": "smoke/hierarchy",
    "neighborhood": "smoke/ring",
    "semi_synchronous": "smoke/deadline",
    "synchronous": "smoke/fedavg_access_links",
}
# and for those that wait for all that they send, how much that is in one round
MESSAGES = {"synchronous": 2 * 3, "neighborhood": 2 * 5, "hierarchical": 2 * (2 + 2 * 4)}
Spells = Sequence[tuple[float, float]]
PROTOCOL = pytest.mark.parametrize("name", PROTOCOLS.names())
WAITS = pytest.mark.parametrize("name", MESSAGES)
ROUNDS = 3


@pytest.fixture(scope="module")
def parts_of() -> Callable[[str], Parts]:
    return lambda name: build(simfl.load(SCENARIOS[name]))


@dataclass(frozen=True)
class Relinked:
    """The same wires with other links."""

    wires: Wires
    links: Sequence[Link]

    def path(self, source: str, target: str) -> Route | None:
        return self.wires.path(source, target)


def played(
    parts: Parts, rounds: int = ROUNDS, **away: Spells
) -> tuple[Tape, Simulation, list[tuple[Any, ...]]]:
    """Some rounds by counting: what was computed and sent, and what was observed.

    Args:
        parts: a scenario's.
        rounds: how many.
        away: by node, the spells in which it is there; none: everybody is always.
    """
    tape, env, seen = Tape(), simpy.Environment(), []

    def promise(verb: Callable[..., Any], *args: Any) -> Forecast:
        return Forecast(verb, args, parts.algorithm.forecast)

    def observe(round: int, state: Forecast, node: Any = None, updates: int = 0) -> None:
        seen.append((round, state.key, node.name if node else "server", env.now))

    there = {name.replace("_", "-"): spells for name, spells in away.items()}
    parts = replace(parts, availability=lambda: {n: iter(s) for n, s in there.items()})
    run = Simulation(env, parts, tape, promise, observe, verify=True)
    run.play(rounds=rounds)
    return tape, run, seen


def nodes_of(run: Simulation) -> list[Node]:
    return [*run.clients, *run.peers, *run.aggregators]


def books(tape: Tape, run: Simulation) -> None:
    """Every bit asked for has crossed, was cut, or is under way; and every message is one of them.

    Of a link that is somebody's own, what has crossed it is what its messages say.
    """
    uses = {use.name: use for use in run.uses()}
    under_way = nodes_of(run)[0]._world.network.flows
    for node in nodes_of(run):
        sent = sum(8 * t.nbytes for t in tape.transfers if t.source == node.name)
        use = uses.get(f"{node.name} up")
        if use is None:
            assert sent == 0
        elif not under_way:
            assert use.carried == pytest.approx(sent, rel=1e-9, abs=8)
            assert use.waiting == pytest.approx(0, abs=1e-6)
        else:
            assert use.carried >= sent - 8


def test_every_protocol_is_tried_here() -> None:
    assert set(SCENARIOS) == set(PROTOCOLS.names())


@WAITS
def test_it_ends_and_every_message_has_arrived(parts_of: Callable[[str], Parts], name: str) -> None:
    tape, run, _ = played(parts_of(name))
    nodes = nodes_of(run)
    assert nodes[0]._world.network.flows == 0
    assert len(tape.transfers) == ROUNDS * MESSAGES[name]
    for round in range(1, ROUNDS + 1):
        assert sum(t.round == round for t in tape.transfers) == MESSAGES[name]


@PROTOCOL
def test_every_byte_is_accounted_for(parts_of: Callable[[str], Parts], name: str) -> None:
    books(*played(parts_of(name))[:2])


@PROTOCOL
def test_one_scenario_one_course(parts_of: Callable[[str], Parts], name: str) -> None:
    first, second = (played(parts_of(name)) for _ in range(2))
    assert first[0].spans == second[0].spans
    assert first[0].transfers == second[0].transfers
    assert first[2] == second[2]


@PROTOCOL
def test_every_holder_shows_its_state_before_the_first_and_after_each_round(
    parts_of: Callable[[str], Parts], name: str
) -> None:
    _, run, seen = played(parts_of(name))
    holders = [node.name for node in run.peers] or ["server"]
    for holder in holders:
        assert [round for round, _, who, _ in seen if who == holder] == list(range(ROUNDS + 1))
    assert len(seen) == len(holders) * (ROUNDS + 1)


@PROTOCOL
def test_clients_or_peers_are_numbered_from_zero(
    parts_of: Callable[[str], Parts], name: str
) -> None:
    parts = parts_of(name)
    _, run, _ = played(parts)
    assert bool(run.clients) != bool(run.peers)
    trains = [node.index for node in [*run.clients, *run.peers]]
    assert trains == list(range(parts.scenario.platform.clients))
    assert [node.index for node in run.aggregators] == [-2, -3][: len(run.aggregators)]


def test_peers_begin_with_one_model(parts_of: Callable[[str], Parts]) -> None:
    _, _, seen = played(parts_of("neighborhood"))
    assert len({key for round, key, _, _ in seen if round == 0}) == 1
    assert len({key for round, key, _, _ in seen if round == 1}) == 5


def test_peers_wait_for_their_neighbours_only(parts_of: Callable[[str], Parts]) -> None:
    tape, _, seen = played(parts_of("neighborhood"))
    ended = {(round, who): time_s for round, _, who, time_s in seen}
    due = {(span.round, span.node): [span.end_s] for span in tape.spans if span.verb == "train"}
    for sent in tape.transfers:
        due[sent.round, sent.target].append(sent.end_s)
    for span in tape.spans:
        if span.verb == "mix":
            assert len(due[span.round, span.node]) == 3
            assert span.start_s == max(due[span.round, span.node])
    # pi3 is slow: the two peers beside it wait for it, the two opposite do not
    assert ended[1, "pi4-1"] < min(ended[1, n] for n in ("pi3", "pi4-0", "pi4-3"))


def test_the_order_of_arrival_renames_nothing(parts_of: Callable[[str], Parts]) -> None:
    parts = parts_of("neighborhood")
    links = [
        replace(link, rate_bps=1e5) if link.name == "pi4-0 down" else link
        for link in parts.wiring.wires.links
    ]
    slow = replace(parts.wiring, wires=Relinked(parts.wiring.wires, links))
    keys = [
        {(round, who): key for round, key, who, _ in played(p)[2]}
        for p in (parts, replace(parts, wiring=slow))
    ]
    assert keys[0] == keys[1]


def test_peers_that_cannot_all_be_reached(parts_of: Callable[[str], Parts]) -> None:
    parts = parts_of("neighborhood")
    apart = nx.Graph()
    apart.add_nodes_from(parts.overlay)
    with pytest.raises(ProtocolError, match=r"^not joined to .*; join them in the topology$"):
        played(replace(parts, overlay=apart))


KILLS = 1000


@pytest.mark.slow
@PROTOCOL
@pytest.mark.parametrize("back_s", [None, 3.0])
def test_killing_any_client_at_any_moment_never_hangs_the_run(
    parts_of: Callable[[str], Parts], name: str, back_s: float | None
) -> None:
    parts = parts_of(name)
    tape, run, _ = played(parts)
    end_s = max(span.end_s for span in tape.spans)
    clients = [node.name for node in [*run.clients, *run.peers]]
    draw, cut = Random(7), 0
    for _ in range(KILLS // 2):
        victim, at_s = draw.choice(clients).replace("-", "_"), draw.uniform(0.0, end_s)
        spells = [(0.0, at_s)] + ([] if back_s is None else [(at_s + back_s, inf)])
        tape, run, seen = played(parts, **{victim: spells})
        books(tape, run)
        cut += any(part.cut for part in (*tape.spans, *tape.transfers))
        holders = [node.name for node in run.peers] or ["server"]
        last = {who: max((r for r, _, w, _ in seen if w == who), default=-1) for who in holders}
        # who stays ends every round, and so does who comes back in time
        left = victim.replace("_", "-")
        assert all(round == ROUNDS for who, round in last.items() if who != left)
    assert cut > KILLS // 20


def test_nobody_is_left(parts_of: Callable[[str], Parts]) -> None:
    parts = parts_of("synchronous")
    clients = [n for n in parts.scenario.platform.nodes if n != "server"]
    gone = {name: [Spell(0.0, 0.5)] for name in clients}
    env, tape = simpy.Environment(), Tape()

    def promise(verb: Callable[..., Any], *args: Any) -> Forecast:
        return Forecast(verb, args, parts.algorithm.forecast)

    parts = replace(parts, availability=lambda: {n: iter(s) for n, s in gone.items()})
    run = Simulation(env, parts, tape, promise, lambda *_, **__: None)
    assert run.play(rounds=ROUNDS) == "nobody is left, and nobody comes back"
    assert {span.end_s for span in tape.spans if span.cut} | {0.5} == {0.5}


RING = "smoke/ring"
BRIEF = ("learning.local.epochs=null", "learning.local.steps=2")


def test_peers_report_a_round_once_and_stop_on_their_mean(tmp_path: Path) -> None:
    seen = []
    changes = ["protocol.rounds=30", "record.evaluate_every=1", "stop.accuracy=0.5"]
    trace = simfl.run(
        simfl.load(RING, changes), out=tmp_path / "run.h5", listeners=Listeners(round=seen.append)
    )
    assert trace.complete
    assert "accuracy 0.5" in trace.status
    rounds = [now.round for now in seen]
    assert rounds == list(range(len(rounds)))
    assert len(rounds) < 30
    curve = trace.curve
    assert curve["round"].tolist() == rounds
    assert [now.accuracy for now in seen] == pytest.approx(curve["accuracy"].tolist())
    assert [now.time_s for now in seen] == curve["time_s"].tolist()
    assert curve["accuracy"].iloc[-1] >= 0.5 > curve["accuracy"].iloc[:-1].max()
    # before the first round all hold the same model
    assert trace.scores["key"][:5].nunique() == 1
    assert trace.nodes["role"].tolist() == ["peer"] * 5
    assert not trace.scores["down_bytes"].any()
    spent = trace.transfers["nbytes"][trace.transfers["end_s"] <= curve["time_s"].iloc[-1]].sum()
    assert curve["up_bytes"].iloc[-1] == spent


def test_peers_resume_from_their_own_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["protocol.rounds=9", *BRIEF]
    whole = simfl.run(simfl.load(RING, changes), out=tmp_path / "whole.h5", store=False)
    path = tmp_path / "run.h5"

    def interrupt(now: Progress) -> None:
        if now.round == 7:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        simfl.run(simfl.load(RING, changes), out=path, listeners=Listeners(round=interrupt))
    gc.collect()  # and with the run, its lock
    assert simfl.Trace(path).status == "interrupted"
    saved = sorted(tmp_path.glob(".simfl/values/*/*.value"))
    # the one model that all begin with, and each peer's after rounds 2, 4 and 6
    assert len(saved) == 1 + 3 * 5
    stores = []

    class Counted(simulation.Store):
        def __init__(self, *args: Any, **names: Any) -> None:
            super().__init__(*args, **names)
            stores.append(self)

    monkeypatch.setattr(simulation, "Store", Counted)
    resumed = simfl.resume(path)
    for table in ("activities", "transfers", "rounds", "scores", "manifests", "nodes"):
        assert resumed.raw(table).tobytes() == whole.raw(table).tobytes()
    # two rounds of five peers were left, and two more since the states were saved
    assert stores[0].computed["train"] <= 4 * 5
    assert "initial" not in stores[0].computed
