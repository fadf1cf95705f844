"""Max-min fair rates: how flows share what they cross. The definition, as a pure function.

Slow and readable. What runs in a simulation (`bundles`, `compiled`) gives the same rates, keeps
them while flows come and go, and is tested against this.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import inf
from typing import Final

Route = Mapping[Hashable, float]
"""What one flow crosses: resource -> how much of it each bit per second takes.

On a wire that is 1, or more with headers, of a capacity in bits per second. On the air it is the
airtime of a bit, 1 / (the station's rate), of a capacity of 1: the medium is busy all the time or
less.
"""

_SLACK: Final = 1e-12


def max_min_rates(
    routes: Sequence[Route],
    capacity: Mapping[Hashable, float],
    *,
    weights: Sequence[float] | None = None,
    caps_bps: Sequence[float] | None = None,
) -> list[float]:
    """The weighted max-min fair rate of each flow, in bits per second.

    No flow can gain without a flow that has no more for its weight losing. Progressive filling:
    all rates grow together, each by its weight; when a resource is full, the flows across it are
    fixed, and so is a flow at its cap.

    Args:
        routes: one per flow; empty only with a cap.
        capacity: of each resource that a route names; 0 stops the flows across it.
        weights: one per flow, positive; None: all alike.
        caps_bps: one per flow; None: none has any.

    Source: Bertsekas and Gallager, Data Networks (2nd ed., 1992), section 6.5.2; weights as in
    Marbach, Priority service and max-min fairness (INFOCOM 2002); with unequal
    airtimes per bit it is the throughput-fair share of an 802.11 cell (Heusse et al., Performance
    Anomaly of 802.11b, INFOCOM 2003).

    >>> max_min_rates([{"a": 1.0}, {"a": 1.0, "b": 1.0}], {"a": 10.0, "b": 2.0})
    [8.0, 2.0]
    >>> max_min_rates([{"air": 1 / 36e6}, {"air": 1 / 18e6}], {"air": 1.0})
    [12000000.0, 12000000.0]
    >>> max_min_rates([{"a": 1.0}] * 3, {"a": 10.0}, weights=[1, 1, 2], caps_bps=[1.0, inf, inf])
    [1.0, 3.0, 6.0]
    """
    weight = weights or [1.0] * len(routes)
    cap_bps = caps_bps or [inf] * len(routes)
    rates = [0.0] * len(routes)
    growing = set(range(len(routes)))
    left = dict(capacity)
    level = 0.0
    while growing:
        demand: dict[Hashable, float] = {}
        for flow in sorted(growing):
            for resource, usage in routes[flow].items():
                demand[resource] = demand.get(resource, 0.0) + usage * weight[flow]
        lowest_cap = min(cap_bps[flow] / weight[flow] for flow in growing)
        steps = [left[resource] / usage for resource, usage in demand.items()]
        step = min([*steps, lowest_cap - level])
        level += step
        full = set()
        for resource, usage in demand.items():
            left[resource] -= step * usage
            if left[resource] <= _SLACK * capacity[resource]:
                full.add(resource)
        fixed = set()
        for flow in growing:
            if cap_bps[flow] <= level * weight[flow] * (1 + _SLACK):
                rates[flow] = cap_bps[flow]
                fixed.add(flow)
            elif not full.isdisjoint(routes[flow]):
                rates[flow] = level * weight[flow]
                fixed.add(flow)
        growing -= fixed
    return rates
