"""Rounds that do not wait for everybody: a deadline, the first of many, or both.

More clients are asked than are needed; the round is over with the first that are enough, or at
its deadline. Who has not come to his end by then is cut: his device stops, his message gives its
bandwidth back, and what he has computed and sent so far is charged. A round with fewer updates
than the least leaves the model as it was. A client that leaves is as one who is too late.

Source: Bonawitz et al. 2019 (Towards Federated Learning at Scale), sections 2.2 and 9.1: 130 % of
the clients are asked, and a round is given up below a least number; Lai et al. 2022 (FedScale),
section 4, does the same with the factor 1.3.
"""

from __future__ import annotations

from math import ceil, inf
from typing import Annotated

from pydantic import Field

from simfl.algorithms.base import AnyAlgorithm
from simfl.events.activity import Activity, first
from simfl.options import Positive, PositiveDuration
from simfl.protocols.base import ProtocolOptions, Run, RunProtocol, messages
from simfl.protocols.visits import refuse_strangers, visit
from simfl.registry import PROTOCOLS
from simfl.work import Turn


class SemiSynchronousOptions(ProtocolOptions):
    """When a round is over.

    Attributes:
        cohort: updates that are enough.
        over_selection: clients that are asked, as a multiple of it, where there are as many.
        deadline: of a round, from its beginning; left out, none.
        least: updates without which the round's work is thrown away.
    """

    rounds: Positive
    cohort: Positive
    over_selection: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.3
    deadline: PositiveDuration | None = None
    least: Positive = 1


@PROTOCOLS.register("semi_synchronous", options=SemiSynchronousOptions)
def semi_synchronous(
    run: Run, algorithm: AnyAlgorithm, options: SemiSynchronousOptions
) -> Activity[None]:
    """Ask more than enough, take the first, cut the others."""
    refuse_strangers(run)
    server, within_s = run.server, options.deadline or inf
    asked = ceil(options.cohort * options.over_selection)
    model = yield from server.compute(algorithm.initial)
    run.observe(0, model)
    for t in range(1, options.rounds + 1):
        cohort = yield from run.cohorts.choose(asked, t)
        visits = [
            visit(run, algorithm, client, message, Turn(client.index, t), round=t)
            for client, message in messages(run, algorithm, model, cohort)
        ]
        updates = yield from first(run.env, options.cohort, visits, within_s)
        enough = len(updates) >= options.least
        if enough:
            model = yield from server.compute(algorithm.aggregate, model, tuple(updates), round=t)
        run.observe(t, model, updates=len(updates) if enough else 0)


_: RunProtocol = semi_synchronous
