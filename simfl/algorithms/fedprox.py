"""FedProx: FedAvg whose turns stay near the model that they began with.

Source: Li et al. 2020, Algorithm 2, with all clients doing all of their work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.learning.sgd import Rule
from simfl.learning.state import Turn
from simfl.objectives.proximal import Form, Proximal
from simfl.registry import ALGORITHMS


class FedProxOptions(FedAvgOptions):
    """How near.

    Attributes:
        mu: the weight of (mu / 2) ||w - w_received||^2.
        form: ``public_code`` is the no-op that FedDIP's and FedDST's repositories run under this
            name; see `simfl.objectives.proximal`.
    """

    examples: ClassVar[Examples] = ({"mu": 0.1}, {"mu": 0.1, "form": "public_code"})

    mu: Annotated[float, Field(ge=0)]
    form: Form = "squared"


@ALGORITHMS.register("fedprox", options=FedProxOptions)
class FedProx(AveragedSGD[FedProxOptions]):
    """FedAvg with a proximal term; what travels is the same."""

    def rule(self, turn: Turn) -> Rule:
        """With the term among the others."""
        rule = super().rule(turn)
        term = Proximal(mu=self.options.mu, form=self.options.form)
        return replace(rule, terms=(*rule.terms, term))

    @property
    def bytes_per_weight(self) -> int:
        """The term's on top."""
        return super().bytes_per_weight + Proximal.bytes_per_weight
