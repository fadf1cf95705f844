"""Nodes that come and go: by their spells, and while their battery lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simpy import Environment

from simfl.events.activity import Activity
from simfl.events.node import Node

# how exactly the end of a battery is found
_STEP_S: Final = 1e-3


def come_and_go(
    env: Environment, node: Node, spells: Iterator[tuple[float, float]]
) -> Activity[None]:
    """Be there in these spells only, given by their starts and ends; away after the last."""
    for start_s, end_s in spells:
        if node.gone:
            return
        if start_s > env.now:
            node.leave()
            yield env.timeout(start_s - env.now)
        node.come_back()
        if end_s > env.now:
            yield env.timeout(end_s - env.now)
    node.leave()


def run_down(env: Environment, node: Node, joules: float) -> Activity[None]:
    """Take part until so much was drawn; nothing charges the battery.

    Looks whenever it could be empty at the earliest, so it looks more often towards the end.
    """
    meter = node.meter
    while (left_j := joules - meter.joules(env.now)) > 0.0:
        if node.there:
            yield env.timeout(max(left_j / meter.most_watts, _STEP_S))
        else:
            yield node.changed
    node.leave("battery", for_good=True)
