"""What network_scale.py measures, for simfl and SimGrid alike; the standard library is enough.

A case is links and chains: a chain starts at a time and sends its messages one after the other,
each over its route. Latency and headers are left out, so that both share the same rates: max-min.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

SIZE_BYTES = 1_000_000
SERVER_BPS, DOWN_BPS, UP_BPS = 1e9, 20e6, 5e6


@dataclass(frozen=True)
class Case:
    """Links, and chains of messages.

    Attributes:
        links_bps: capacity of each link.
        starts_s: of each chain, rising.
        legs: messages of a chain.
        route: chain, leg -> links in rising order.
        size_bytes: chain -> size of each of its messages.
    """

    links_bps: Sequence[float]
    starts_s: Sequence[float]
    legs: int
    route: Callable[[int, int], tuple[int, ...]]
    size_bytes: Callable[[int], int]


def star(clients: int, *, staggered: bool) -> Case:
    """Each client: 1 MB down, then 1 MB up, through one server; its links carry nothing else.

    Staggered, clients come at random over the time that the server needs for all downloads.
    """
    random = Random(1)
    span_s = clients * 8 * SIZE_BYTES / SERVER_BPS if staggered else 0.0
    return Case(
        links_bps=[SERVER_BPS, SERVER_BPS] + [DOWN_BPS] * clients + [UP_BPS] * clients,
        starts_s=sorted(random.random() * span_s for _ in range(clients)),
        legs=2,
        route=lambda chain, leg: (leg, 2 + leg * clients + chain),
        size_bytes=lambda chain: SIZE_BYTES,
    )


def graph(path: Path) -> Case:
    """A case that network_scale.py has written: one message a chain."""
    data = json.loads(path.read_text())
    routes: list[tuple[int, ...]] = [tuple(route) for route in data["routes"]]
    sizes: list[int] = data["sizes_bytes"]
    return Case(
        links_bps=data["links_bps"],
        starts_s=data["starts_s"],
        legs=1,
        route=lambda chain, leg: routes[chain],
        size_bytes=lambda chain: sizes[chain],
    )


def named(name: str) -> Case:
    """``star:N:once``, ``star:N:staggered`` or ``graph:FILE``."""
    kind, _, rest = name.partition(":")
    if kind == "graph":
        return graph(Path(rest))
    clients, _, starts = rest.partition(":")
    return star(int(clients), staggered=starts == "staggered")
