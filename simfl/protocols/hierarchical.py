"""Aggregators between the clients and the server, each with rounds of its own.

In a round of the server, every aggregator is sent the model, does so many rounds with the clients
beside it, and sends up what it has; the server aggregates these, each weighed by the samples below
it. Of the algorithm, an aggregator goes on where the server stands: what it needs of that beside
the model itself, such as the number of the round, is not counted as sent. A client that leaves is
not waited for; an aggregator below which nobody is there lets a round pass, and sends nothing up
where nothing has come.

Source: Liu et al. 2020 (HierFAVG), Algorithm 1; ``period`` is its kappa 2, and kappa 1 is the
length of the local update.
"""

from __future__ import annotations

from typing import Any

from simfl.algorithms.base import AnyAlgorithm
from simfl.errors import ProtocolError
from simfl.events.activity import Activity, parallel
from simfl.events.node import Node
from simfl.memo import Artifact, Received
from simfl.options import Positive
from simfl.protocols.base import ProtocolOptions, Run, RunProtocol, messages
from simfl.protocols.visits import visit
from simfl.registry import PROTOCOLS
from simfl.work import Turn


class HierarchicalOptions(ProtocolOptions):
    """Rounds, above and below.

    Attributes:
        rounds: of the server.
        period: rounds of an aggregator in each of them.
        cohort: clients chosen for one of those; left out, all below it that are there.
    """

    needs_aggregators = True

    rounds: Positive
    period: Positive = 1
    cohort: Positive | None = None


@PROTOCOLS.register("hierarchical", options=HierarchicalOptions)
def hierarchical(run: Run, algorithm: AnyAlgorithm, options: HierarchicalOptions) -> Activity[None]:
    """Server, aggregators, clients."""
    if not algorithm.relays:
        raise ProtocolError(
            f"{algorithm.name.partition(' ')[0]} keeps at the server what its aggregators would "
            "have to tell it; take synchronous"
        )
    server, below = run.server, _below(run)
    model = yield from server.compute(algorithm.initial)
    run.observe(0, model)

    def branch(place: int, t: int, message: Artifact[Any]) -> Activity[Received[Any] | None]:
        aggregator, came = run.aggregators[place], 0
        state = model
        yield from server.send(aggregator, message, round=t)
        for k in range((t - 1) * options.period + 1, t * options.period + 1):
            if not any(client.there for client in below[aggregator]):
                continue
            number = (k - 1) * len(below) + place + 1
            cohort = yield from run.cohorts.choose(options.cohort, number, below[aggregator])
            visits = (
                visit(run, algorithm, c, sent, Turn(c.index, k), by=aggregator, round=t)
                for c, sent in messages(run, algorithm, state, cohort)
            )
            updates = yield from parallel(run.env, visits)
            came += len(updates)
            if updates:
                state = yield from aggregator.compute(
                    algorithm.aggregate, state, tuple(updates), round=t
                )
        if not came:
            return None
        up = yield from aggregator.send(server, run.promise(algorithm.share, state), round=t)
        return Received(up, run.participant(aggregator))

    for t in range(1, options.rounds + 1):
        yield from run.cohorts.somebody()
        sent = messages(run, algorithm, model, run.aggregators)
        branches = (branch(place, t, message) for place, (_, message) in enumerate(sent))
        updates = [up for up in (yield from parallel(run.env, branches)) if up is not None]
        if updates:
            model = yield from server.compute(algorithm.aggregate, model, tuple(updates), round=t)
        run.observe(t, model, updates=len(updates))


def _below(run: Run) -> dict[Node, list[Node]]:
    """The clients beside each aggregator.

    Raises:
        ProtocolError: the topology is not a tree of three levels.
    """
    overlay = run.overlay
    below = {
        a: [c for c in run.clients if overlay.has_edge(a.name, c.name)] for a in run.aggregators
    }
    for aggregator, clients in below.items():
        if not overlay.has_edge(run.server.name, aggregator.name) or not clients:
            raise ProtocolError(
                f"{aggregator.name} is not between the server and clients in the topology; "
                "take a tree or a star_of_stars"
            )
    for client in run.clients:
        above = [a.name for a in below if overlay.has_edge(a.name, client.name)]
        if len(above) != 1:
            raise ProtocolError(
                f"{client.name} is beside {len(above)} aggregators in the topology; give it one"
            )
    return below


_: RunProtocol = hierarchical
