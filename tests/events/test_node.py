from itertools import permutations
from random import Random
from typing import Any

import pytest
from simpy import Environment

from simfl.cost.carriers import carrier
from simfl.cost.device import Device
from simfl.cost.variation import Realization
from simfl.errors import DeviceMemoryError
from simfl.events.activity import Activity, parallel
from simfl.events.network import Network
from simfl.events.node import Node, World
from simfl.events.observer import Sent, Span
from simfl.memo import Promise, Recipe, Store
from simfl.networks.base import Ground, wire
from simfl.registry import NETWORKS
from simfl.work import Kind, LayerWork, Manifest, TensorInfo, Workload

SOURCE = {"kind": "measured", "source": "the bench in the corner", "log_sd": 0.1}
CENTRAL = Realization(seed=1)
VARIATION = {
    "unit": {"value": 0.1, "kind": "measured", "source": "seen"},
    "step": {"value": 0.2, "kind": "measured", "source": "seen"},
    "throttling": [
        {
            "share": {"value": 0.5, **SOURCE},
            "speed": {"value": 0.5, **SOURCE},
            "after": {"value": "10 s", **SOURCE},
        }
    ],
}


def seconds(n: int) -> int:
    """A verb that takes n seconds and gives n."""
    return n


def big(n: int) -> int:
    """A verb that no device holds."""
    return n


def work(verb: object, n: int) -> Workload:
    if verb is seconds:
        return Workload(steps=n)
    layer = LayerWork(name="w", kind=Kind.LINEAR, macs=1, weights=1, nonzero=1)
    return Workload(model="big", layers=(layer,), steps=n)


def manifest(n: int) -> Manifest:
    return Manifest(tensors=(TensorInfo(name="w", shape=(n,), dtype="float32", nonzero=n),))


class Room:
    """Nodes in one cell of 8 Mbit/s; a payload of n takes n seconds; what happened is kept.

    Args:
        drawn: the possible world; without one, devices are as their model says.
    """

    def __init__(self, *names: str, drawn: Realization = CENTRAL) -> None:
        self.env = Environment()
        self.store = Store(manifest)
        self.spans: list[Span] = []
        self.messages: list[Sent] = []
        self.changes: list[tuple[str, str, str]] = []
        self.back: list[str] = []
        kind = NETWORKS.get("shared_medium")
        ground = Ground(nodes={"server": "server"} | {n: n for n in names}, seed=1)
        wiring = wire(kind.build, kind.options(rate="8 Mbit/s"), ground)
        carries = carrier(wiring.wires, wiring.transport, seed=1, senders=len(ground.nodes))
        self.network = Network(self.env, carries)
        world = World(
            env=self.env,
            network=self.network,
            observer=self,
            returned=lambda node: self.back.append(node.name),
            promise=self.promise,
            start=lambda _: None,
            work=work,
            nbytes=lambda manifest: manifest.size * 1_000_000,
        )
        device = Device.model_validate(
            {
                "name": "bench",
                "description": "one second a step",
                "stack": "none",
                "ram": {"value": "1 GiB", **SOURCE},
                "cost": {
                    "kind": "compact",
                    "train": {
                        "step": {"value": "1 s", **SOURCE},
                        "dense_rate": {"value": "1 Gflop/s", **SOURCE},
                    },
                },
                "memory_rate": {"value": "1 GB/s", **SOURCE},
                "infeasible": [
                    {"model": "big", "storage": "dense", "reason": "too big", "source": "seen"}
                ],
                "variation": VARIATION,
            }
        )
        self.nodes = {
            name: Node(world, name, i, device, drawn.unit_of(device, name))
            for i, name in enumerate(names)
        }

    def promise(self, verb: Any, *args: Any) -> Promise[Any]:
        return self.store.promise(Recipe(verb, verb.__name__, args))

    def computed(self, span: Span) -> None:
        self.spans.append(span)

    def sent(self, sent: Sent) -> None:
        self.messages.append(sent)

    def left(self, node: str, why: str) -> None:
        self.changes.append(("left", node, why))

    def returned(self, node: str) -> None:
        self.changes.append(("returned", node, ""))

    def run(self, *activities: Activity[Any]) -> list[Any]:
        return list(self.env.run(self.env.process(parallel(self.env, activities))))


def test_computing_takes_the_devices_seconds_and_gives_the_artifact() -> None:
    room = Room("a")
    (artifact,) = room.run(room.nodes["a"].compute(seconds, 3, round=7))
    assert artifact.value == 3
    assert room.spans == [
        Span(
            start_s=0,
            end_s=3,
            node="a",
            verb="seconds",
            round=7,
            key=artifact.key,
            manifest=manifest(3),
        )
    ]
    assert room.store.computed == {"seconds": 1}


def test_one_processor_computes_first_come_first_served() -> None:
    room = Room("a", "b")
    a, b = room.nodes.values()

    def later(start_s: float, activity: Activity[Any]) -> Activity[Any]:
        yield room.env.timeout(start_s)
        return (yield from activity)

    room.run(
        later(0.5, a.compute(seconds, 1)),
        later(0.2, a.compute(seconds, 2)),
        a.compute(seconds, 4),
        b.compute(seconds, 5),
    )
    assert [(s.node, s.start_s, s.end_s) for s in room.spans] == [
        ("a", 0, 4),
        ("b", 0, 5),
        ("a", 4, 6),
        ("a", 6, 7),
    ]


def test_what_a_device_cannot_hold_is_refused_before_a_second_passes() -> None:
    room = Room("a")
    with pytest.raises(DeviceMemoryError, match="too big"):
        room.run(room.nodes["a"].compute(big, 1))
    assert room.env.now == 0
    assert room.spans == []
    assert room.store.computed == {}


def test_sending_takes_the_networks_seconds_for_the_messages_bytes() -> None:
    room = Room("a", "b", "server")
    payload = room.promise(seconds, 3)
    server, a = room.nodes["server"], room.nodes["a"]
    (arrived,) = room.run(server.send(a, payload, round=2))
    assert arrived is payload
    (sent,) = room.messages
    assert (sent.start_s, sent.end_s) == (0, pytest.approx(3, abs=1e-9))
    assert (sent.source, sent.target, sent.round) == ("server", "a", 2)
    assert (sent.nbytes, sent.key, sent.manifest) == (3_000_000, payload.key, manifest(3))
    assert room.network.flows == 0


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_the_order_of_simultaneous_starts_does_not_matter(order: tuple[str, ...]) -> None:
    room = Room("a", "b", "c", "server")
    server = room.nodes["server"]
    seconds_of = {"a": 1, "b": 1, "c": 2}

    def visit(name: str) -> Activity[None]:
        node = room.nodes[name]
        local = yield from node.compute(seconds, seconds_of[name])
        yield from node.send(server, local)

    room.run(*(visit(name) for name in order))
    spans = sorted((s.node, s.start_s, s.end_s, s.key) for s in room.spans)
    keys = {n: room.promise(seconds, n).key for n in (1, 2)}
    assert spans == [("a", 0, 1, keys[1]), ("b", 0, 1, keys[1]), ("c", 0, 2, keys[2])]
    # a and b share from 1 to 3 s, half a second's worth each left at 2 s when c joins: three by
    # three, a and b need 1.5 s more; then c has 1.5 of its 2 left, alone
    times = sorted((m.source, m.start_s, m.end_s) for m in room.messages)
    assert times == [
        ("a", 1, pytest.approx(3.5, abs=1e-9)),
        ("b", 1, pytest.approx(3.5, abs=1e-9)),
        ("c", 2, pytest.approx(5.0, abs=1e-9)),
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_10000_durations_do_not_depend_on_the_order_of_events(seed: int) -> None:
    names = [f"n{i}" for i in range(100)]
    drawn = Realization(seed=1, draw=3, throttling=False)

    def play(order: list[str], delays: Random | None) -> dict[tuple[str, int], float]:
        room = Room(*names, drawn=drawn)

        def train(node: Node) -> Activity[None]:
            for r in range(100):
                if delays:
                    yield room.env.timeout(delays.random())
                yield from node.compute(seconds, 1, round=r)

        room.run(*(train(room.nodes[name]) for name in order))
        return {(s.node, s.round): s.end_s - s.start_s for s in room.spans}

    first = play(names, None)
    assert len(set(first.values())) == 10_000
    shuffled = names[:]
    Random(seed).shuffle(shuffled)
    again = play(shuffled, Random(seed))
    assert {key: again[key] for key in first} == pytest.approx(first, rel=1e-9)


def test_a_board_heats_while_it_computes_and_rests_while_it_waits() -> None:
    drawn = Realization(seed=1, draw=1, unit=False, step=False)
    room = Room(*"abcdefgh", drawn=drawn)

    def train(node: Node) -> Activity[None]:
        for rest_s in (0, 0, 5, 100):
            yield room.env.timeout(rest_s)
            yield from node.compute(seconds, 8)

    room.run(*(train(node) for node in room.nodes.values()))
    took = {n: tuple(s.end_s - s.start_s for s in room.spans if s.node == n) for n in room.nodes}
    # of the second, 2 of 8 s at full speed; of the third what the rest gave back, 5
    assert set(took.values()) == {(8, 2 + 6 / 0.5, 5 + 3 / 0.5, 8), (8, 8, 8, 8)}
