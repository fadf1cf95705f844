"""PruneFL's communication times from a radio cell of goodputs and from 802.11 airtime with TCP.

    python analysis/prunefl_wifi.py [--fit]

Plays the federations that Jiang et al. 2019 measured (Fig. 2: five Pi 3 and five Pi 4; Fig. 11:
five Pi 4) through simfl's networks: every client downloads, computes and uploads; the next
federation begins when the last update is there. Like the paper's timer, communication is what a
federation lasts, in the mean, beside the slowest client's computation. Four networks:

- goodputs: ``shared_medium`` of scenarios/pi_lenet.yaml;
- airtime: ``cells`` with TCP of scenarios/pi_lenet_wifi.yaml;
- preset: the same at the preset's PHY rate, without time for handling: nothing is fitted;
- the preset's PHY rate and the fitted handling, with the server on the air too, so that every byte
  crosses it twice. The paper does not say how its server was connected.

The airtime's three unknowns are fitted to three of the five points: a PHY rate for each model of
Pi, and the time for handling a message. ``--fit`` solves them anew, and shows on what they depend
by solving them with another seed and with other aggregations too.

Fig. 11's sizes are as printed. Its text has the largest at level 2; by counting it is level 1's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import simpy

from simfl.cost.carriers import carrier
from simfl.cost.wires import SERVER
from simfl.devices import load_device
from simfl.events.activity import Activity, parallel
from simfl.events.network import Network
from simfl.networks.base import Ground, Wiring, wire
from simfl.scenario import load
from simfl.scenario.schema import Scenario
from simfl.simulation import plan

SCENARIOS = Path(__file__).parent.parent / "scenarios"
PI4 = {f"pi4-{i}": "pi4" for i in range(5)}
PI3 = {f"pi3-{i}": "pi3" for i in range(5)}
# MiB: computation (Fig. 12), communication (Fig. 11), seconds
FIG_11 = {0.44: (3.97, 1.54), 10.53: (5.68, 24.34), 16.62: (13.65, 39.15)}
# level: communication, seconds (Fig. 2, section 5.1.1)
FIG_2 = {1: 10.57, 30: 0.48}
# what the figures of each network were fitted to; the rest it predicts
GOODPUTS_FIT = ("Fig. 11, 0.44 MiB", "Fig. 11, 16.62 MiB", "Fig. 2, level 1", "Fig. 2, level 30")
AIRTIME_FIT = ("Fig. 11, 16.62 MiB", "Fig. 2, level 1", "Fig. 2, level 30")
FIT_SWEEPS = 5
STATION = "pc"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A federation that was measured.

    Attributes:
        clients: their device groups by name.
        nbytes: of one message.
        away_s: by group, from the model's arrival to the update's start.
        computation_s: of that, what the timer of the slowest client calls computation.
        serving_s: the server's averaging.
        measured_s: communication, as in the paper.
    """

    clients: Mapping[str, str]
    nbytes: int
    away_s: Mapping[str, float]
    computation_s: float
    serving_s: float
    measured_s: float


@dataclass(frozen=True, kw_only=True)
class Air:
    """What the airtime is told; the first three are fitted."""

    pi3_bps: float
    pi4_bps: float
    handling_s: float
    aggregation: int | None = None


Build = Callable[[Mapping[str, str]], Wiring]


@cache
def points() -> dict[str, Point]:
    """The five points; those of Fig. 2 with the device models' times."""
    found = {
        f"Fig. 11, {mib} MiB": Point(
            clients=PI4,
            nbytes=round(mib * 2**20),
            away_s={"pi4": computation_s},
            computation_s=computation_s,
            serving_s=0.0,
            measured_s=measured_s,
        )
        for mib, (computation_s, measured_s) in FIG_11.items()
    }
    for level, measured_s in FIG_2.items():
        _, tape = plan(_scenario("pi_lenet", f"learning.algorithm.level={level}"))
        spent_s = dict.fromkeys([*PI4, *PI3, SERVER], 0.0)
        for span in tape.spans:
            spent_s[span.node] += (span.end_s - span.start_s) if span.verb != "initial" else 0.0
        found[f"Fig. 2, level {level}"] = Point(
            clients=PI4 | PI3,
            nbytes=tape.transfers[0].nbytes,
            away_s={group: spent_s[f"{group}-0"] for group in ("pi3", "pi4")},
            computation_s=tape.computation_s,
            serving_s=spent_s[SERVER],
            measured_s=measured_s,
        )
    return found


def communication_s(
    build: Build, point: Point, *, federations: int, seed: int = 1, server: str = SERVER
) -> float:
    """Play federations one after the other; the mean of what is not computation.

    Args:
        build: the network.
        point: what is sent and computed.
        federations: TCP's flows differ from one to the next.
        seed: of these differences.
        server: the place of whoever serves.
    """
    env, wiring = simpy.Environment(), build(point.clients)
    carries = carrier(
        wiring.wires, wiring.transport, wiring.framing, seed=seed, senders=len(point.clients)
    )
    network = Network(env, carries)

    def visit(client: str, group: str) -> Activity[None]:
        yield from network.transfer(server, client, point.nbytes)
        yield env.timeout(point.away_s[group])
        yield from network.transfer(client, server, point.nbytes)

    def play() -> Activity[None]:
        for _ in range(federations):
            yield from parallel(env, (visit(*client) for client in point.clients.items()))
            yield env.timeout(point.serving_s)

    env.run(env.process(play()))
    return env.now / federations - point.computation_s


def goodputs(clients: Mapping[str, str]) -> Wiring:
    """The cell of scenarios/pi_lenet.yaml."""
    return _wired(_scenario("pi_lenet"), clients)


def airtime(air: Air | None = None) -> Build:
    """The cell of scenarios/pi_lenet_wifi.yaml; or the same with other figures."""
    changes = []
    if air is not None:
        changes = [
            f"platform.network.rates={{pi3: {air.pi3_bps} bit/s, pi4: {air.pi4_bps} bit/s}}",
            f"platform.network.framing.handling={air.handling_s} s",
        ]
        if air.aggregation is not None:
            changes.append(f"platform.network.wifi.aggregation={air.aggregation}")
    scenario = _scenario("pi_lenet_wifi", *changes)
    return lambda clients: _wired(scenario, clients)


def preset(clients: Mapping[str, str]) -> Wiring:
    """The same, but for what was fitted."""
    changes = ("platform.network.rates={}", "platform.network.framing.handling=0 s")
    return _wired(_scenario("pi_lenet_wifi", *changes), clients)


def served_on_air(clients: Mapping[str, str]) -> Wiring:
    """The handling of the fit, the preset's rate, and `STATION` to serve as one more station."""
    return _wired(
        _scenario("pi_lenet_wifi", "platform.network.rates={}"), {**clients, STATION: STATION}
    )


def fit(start: Air, *, federations: int, seed: int) -> Air:
    """Solve the three unknowns, each from its own point, over and over.

    Large messages take time in inverse proportion to the rate, and small ones no time but the
    handling of both ways, so each step ends near its goal.
    """
    air = start
    for _ in range(FIT_SWEEPS):
        small, slow, fast = (points()[name] for name in reversed(AIRTIME_FIT))
        off_s = small.measured_s - _again(air, small, federations, seed)
        air = replace(air, handling_s=max(air.handling_s + off_s / 2, 0.0))
        sent_s = 2 * air.handling_s
        for point, key in ((fast, "pi4_bps"), (slow, "pi3_bps")):
            found_s = _again(air, point, federations, seed)
            ratio = (found_s - sent_s) / (point.measured_s - sent_s)
            air = replace(air, **{key: getattr(air, key) * ratio})
    return air


def _again(air: Air, point: Point, federations: int, seed: int) -> float:
    return communication_s(airtime(air), point, federations=federations, seed=seed)


def _scenario(name: str, *changes: str) -> Scenario:
    return load(SCENARIOS / f"{name}.yaml", ("learning.dataset.name=digits", *changes))


def _wired(scenario: Scenario, clients: Mapping[str, str]) -> Wiring:
    """A scenario's network, with only these clients there."""
    choice: Any = scenario.platform.network
    ground = Ground(
        nodes={SERVER: SERVER, **clients},
        seed=scenario.seed,
        folder=scenario.folder,
        radios_bps={group: _radio_bps(group) for group in ("pi3", "pi4")},
    )
    return wire(choice.plugin().build, choice.options, ground)


@cache
def _radio_bps(group: str) -> float:
    radio = load_device(group).radio
    assert radio is not None
    return radio.value


def show(build: Build, fitted: tuple[str, ...], **how: Any) -> None:
    """A line for each point; ``how`` it is played, see `communication_s`."""
    for name, point in points().items():
        found_s = communication_s(build, point, **how)
        print(
            f"  {name:20} measured {point.measured_s:6.2f} s, simulated {found_s:6.3f} s, "
            f"{found_s / point.measured_s - 1:+6.1%} {'fitted' if name in fitted else 'predicted'}"
        )


def main() -> None:
    """Compare, and if asked fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="solve the unknowns anew")
    parser.add_argument("--federations", type=int, default=100, help="as many as in the paper")
    args = parser.parse_args()
    for title, build, fitted, server in (
        ("goodputs (shared_medium)", goodputs, GOODPUTS_FIT, SERVER),
        ("airtime (cells, TCP)", airtime(), AIRTIME_FIT, SERVER),
        ("the preset as it is", preset, (), SERVER),
        ("the preset's rate, served on the air", served_on_air, AIRTIME_FIT[-1:], STATION),
    ):
        print(title)
        show(build, fitted, federations=args.federations, server=server)
    if not args.fit:
        return
    start = Air(pi3_bps=20e6, pi4_bps=40e6, handling_s=0.225)
    for seed, aggregation in ((1, None), (2, None), (1, 4), (1, 8), (1, 42)):
        air = fit(replace(start, aggregation=aggregation), federations=args.federations, seed=seed)
        print(
            f"fit, seed {seed}, aggregation {aggregation or 'as in the preset'}: Pi 3 "
            f"{air.pi3_bps / 1e6:.2f} Mbit/s, Pi 4 {air.pi4_bps / 1e6:.2f} Mbit/s, handling "
            f"{air.handling_s * 1e3:.1f} ms"
        )
        # other federations than those of the fit
        show(airtime(air), AIRTIME_FIT, federations=args.federations, seed=seed + 100)


if __name__ == "__main__":
    main()
