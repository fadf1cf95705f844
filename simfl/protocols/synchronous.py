"""Synchronous rounds with a server.

A client that leaves is not waited for: its update is missing, and the round goes on with the
others'. A round whose every update is missing leaves the model as it was. While nobody is there,
the server waits.

Source: McMahan et al. 2017, Algorithm 1; with pruning, Jiang et al. 2019, section 3.2.3.
"""

from __future__ import annotations

from simfl.algorithms.base import AnyAlgorithm
from simfl.events.activity import Activity, parallel
from simfl.options import Positive
from simfl.protocols.base import ProtocolOptions, Run, RunProtocol, messages
from simfl.protocols.visits import refuse_strangers, visit
from simfl.registry import PROTOCOLS
from simfl.work import Turn


class SynchronousOptions(ProtocolOptions):
    """Rounds and cohort.

    Attributes:
        cohort: clients chosen for each round; left out, all of them that are there.
    """

    rounds: Positive
    cohort: Positive | None = None


@PROTOCOLS.register("synchronous", options=SynchronousOptions)
def synchronous(run: Run, algorithm: AnyAlgorithm, options: SynchronousOptions) -> Activity[None]:
    """Send the model to a cohort, train there, collect, aggregate; a round waits for everybody."""
    refuse_strangers(run)
    server = run.server
    model = yield from server.compute(algorithm.initial)
    run.observe(0, model)
    for t in range(1, options.rounds + 1):
        cohort = yield from run.cohorts.choose(options.cohort, t)
        visits = (
            visit(run, algorithm, client, message, Turn(client.index, t), round=t)
            for client, message in messages(run, algorithm, model, cohort)
        )
        updates = yield from parallel(run.env, visits)
        if updates:
            model = yield from server.compute(algorithm.aggregate, model, tuple(updates), round=t)
        run.observe(t, model, updates=len(updates))


_: RunProtocol = synchronous
