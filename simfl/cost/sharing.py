"""Max-min fair rates: how flows share what they cross. Pure functions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

Route = Mapping[Hashable, float]
"""What one flow crosses: resource -> how much of it each bit per second takes.

On a wire that is 1 (of a capacity in bits per second). On the air it is the airtime of a bit,
1 / (the station's rate), of a capacity of 1: the medium is busy all the time or less.
"""

_SLACK: Final = 1e-12


def max_min_rates(routes: Sequence[Route], capacity: Mapping[Hashable, float]) -> list[float]:
    """The max-min fair rate of each flow, in bits per second.

    No flow can gain without a flow that has no more than it losing. Progressive filling: all rates
    grow together; when a resource is full, the flows across it are fixed.

    Args:
        routes: one per flow; none may be empty.
        capacity: of each resource that a route names.

    Source: Bertsekas and Gallager, Data Networks (2nd ed., 1992), section 6.5.2; with unequal
    airtimes per bit it is the throughput-fair share of an 802.11 cell (Heusse et al., Performance
    Anomaly of 802.11b, INFOCOM 2003).

    >>> max_min_rates([{"a": 1.0}, {"a": 1.0, "b": 1.0}], {"a": 10.0, "b": 2.0})
    [8.0, 2.0]
    >>> max_min_rates([{"air": 1 / 36e6}, {"air": 1 / 18e6}], {"air": 1.0})
    [12000000.0, 12000000.0]
    """
    rates = [0.0] * len(routes)
    growing = set(range(len(routes)))
    left = dict(capacity)
    level = 0.0
    while growing:
        demand: dict[Hashable, float] = {}
        for flow in sorted(growing):
            for resource, usage in routes[flow].items():
                demand[resource] = demand.get(resource, 0.0) + usage
        step = min(left[resource] / usage for resource, usage in demand.items())
        level += step
        full = set()
        for resource, usage in demand.items():
            left[resource] -= step * usage
            if left[resource] <= _SLACK * capacity[resource]:
                full.add(resource)
        fixed = {flow for flow in growing if not full.isdisjoint(routes[flow])}
        for flow in fixed:
            rates[flow] = level
        growing -= fixed
    return rates
