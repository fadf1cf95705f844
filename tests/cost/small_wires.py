"""Small networks, and messages played over their carriers by hand, without an event loop."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from simfl.cost.carrier import Carrier
from simfl.cost.carriers import carrier
from simfl.cost.transport import Transport
from simfl.cost.wires import Cell, Hop, Link, Path


@dataclass
class SmallWires:
    """Links, and paths by the hops of one way; the other way round is what comes back."""

    links: Sequence[Link]
    hops: dict[tuple[str, str], tuple[Hop, ...]] = field(default_factory=dict)

    def path(self, source: str, target: str) -> Path | None:
        out, back = self.hops.get((source, target)), self.hops.get((target, source))
        return Path(out, back) if out and back else None


def duplex(down: Link, up: Link) -> SmallWires:
    """From a to b by ``down``, from b to a by ``up``."""
    return SmallWires([down, up], {("a", "b"): (Hop(0),), ("b", "a"): (Hop(1),)})


def line(rate_bps: float, rtt_s: float, **said: Any) -> SmallWires:
    """From a to b and back over links alike."""
    down, up = (
        Link(name=name, rate_bps=rate_bps, latency_s=rtt_s / 2, **said) for name in ("down", "up")
    )
    return duplex(down, up)


def fork(trunk_bps: float, rtts_s: Sequence[float], **said: Any) -> SmallWires:
    """A server and clients 0, 1, ... behind one trunk, each with fast links of its own."""
    links = [Link(name=f"trunk-{way}", rate_bps=trunk_bps, **said) for way in ("down", "up")]
    hops: dict[tuple[str, str], tuple[Hop, ...]] = {}
    for client, rtt_s in enumerate(rtts_s):
        at = len(links)
        for way in ("down", "up"):
            name = f"{client}-{way}"
            links.append(Link(name=name, rate_bps=100 * trunk_bps, latency_s=rtt_s / 2))
        hops["server", str(client)] = (Hop(0), Hop(at))
        hops[str(client), "server"] = (Hop(at + 1), Hop(1))
    return SmallWires(links, hops)


def cell(
    rates_bps: Sequence[float], *, access_s: float = 0.0, aggregation: int = 1, wan_s: float = 0.001
) -> SmallWires:
    """A server by fast wire at an access point, and stations 0, 1, ... on the air."""
    medium = Cell(station_bps=rates_bps, access_s=access_s, aggregation=aggregation)
    links = [
        Link(name="wan-down", rate_bps=10e9, latency_s=wan_s),
        Link(name="wan-up", rate_bps=10e9, latency_s=wan_s),
        Link(name="air", rate_bps=0.0, cell=medium),
    ]
    hops: dict[tuple[str, str], tuple[Hop, ...]] = {}
    for one in range(len(rates_bps)):
        hops["server", str(one)] = (Hop(0), Hop(2, one))
        hops[str(one), "server"] = (Hop(2, one), Hop(1))
        for other in range(len(rates_bps)):
            if one != other:
                hops[str(one), str(other)] = (Hop(2, one), Hop(2, other))
    return SmallWires(links, hops)


def carrying(wires: SmallWires, *, seed: int = 1, **transport: Any) -> Carrier:
    """TCP that follows its windows, but for what is said."""
    said = Transport(**({"windows": True} | transport))
    return carrier(wires, said, seed=seed, senders=1)


@dataclass(frozen=True)
class Send:
    """A message, and when it is given up."""

    at_s: float
    source: str
    target: str
    nbytes: int
    until_s: float = inf


def play(carries: Carrier, sends: Sequence[Send], looks_s: Iterable[float] = ()) -> list[float]:
    """When each message is there; inf: never, or given up before.

    Args:
        carries: idle.
        sends: in any order; what is due at one instant is done in this one.
        looks_s: further times at which somebody asks what comes next.
    """
    ends = [inf] * len(sends)
    begins = [s.at_s + carries.delay_s(s.source, s.target, s.nbytes) for s in sends]
    agenda = sorted({*begins, *(s.until_s for s in sends), *looks_s} - {inf})
    flows: dict[int, int] = {}
    while agenda or carries.next_s() < inf:
        now_s = min(carries.next_s(), agenda[0] if agenda else inf)
        if agenda and agenda[0] == now_s:
            agenda.pop(0)
        for flow in carries.ended(now_s):
            ends[flows.pop(flow)] = now_s
        for number, (begin_s, send) in enumerate(zip(begins, sends, strict=True)):
            if begin_s == now_s and send.until_s > now_s:
                flow = carries.start(now_s, send.source, send.target, send.nbytes)
                if flow is None:
                    ends[number] = now_s
                else:
                    flows[flow] = number
            elif send.until_s == now_s:
                for flow in [flow for flow, its in flows.items() if its == number]:
                    carries.cut(now_s, flow)
                    del flows[flow]
    return ends


def took_s(carries: Carrier, nbytes: int, source: str = "a", target: str = "b") -> float:
    """Seconds of a message alone."""
    [end_s] = play(carries, [Send(0.0, source, target, nbytes)])
    return end_s


def sums(carries: Carrier, now_s: float) -> list[tuple[float, float]]:
    """Of each link what was asked of it, and what became of that."""
    return [(use.asked, use.carried + use.cut + use.waiting) for use in carries.uses(now_s)]
