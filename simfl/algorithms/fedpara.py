"""FedPara: FedAvg over low-rank factors, of which each client composes its weights.

Factors travel both ways, and a device stores them; what it computes with is the whole weight, which
it composes once a step. So a message is smaller, and a step is not.

Source: Hyeon-Woo et al. 2022, sections 2 and 3; its public code, which is the layer alone.

Departs from the paper: the last layer alone stays whole, where the paper leaves three of VGG-16's,
and takes ratios of their own for some layers of ResNet-18. What the supplement adds is off (tanh,
with which its Table 4 finds no difference) or not here (a penalty on Jacobians).
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions
from simfl.errors import OptionError
from simfl.learning.problem import Problem
from simfl.models.low_rank import Drawn, RatioOf, low_rank
from simfl.options import Share
from simfl.registry import ALGORITHMS


class FedParaOptions(FedAvgOptions):
    """How large the factors are.

    Attributes:
        ratio: gamma, the same for all layers.
        ratio_of: gamma lies between the least and the largest useful ``ranks`` (paper), or is the
            share of a layer's ``parameters`` (public code).
        factors: drawn so that the composed weight has a whole one's variance (``scaled``), or each
            by itself as in the ``public_code``.
        tanh: each half of a weight goes through it before they are multiplied.
    """

    examples: ClassVar[Examples] = (
        {"ratio": 0.3},
        {"ratio": 0.4, "ratio_of": "parameters", "factors": "public_code"},
        {"ratio": 0.3, "tanh": True},
    )

    ratio: Share
    ratio_of: RatioOf = "ranks"
    factors: Drawn = "scaled"
    tanh: bool = False


@ALGORITHMS.register("fedpara", options=FedParaOptions)
class FedPara(AveragedSGD[FedParaOptions]):
    """FedAvg on the same network with factors for weights."""

    def __init__(self, options: FedParaOptions, problem: Problem) -> None:
        whole = problem.architecture
        factored = low_rank(
            whole,
            options.ratio,
            ratio_of=options.ratio_of,
            drawn=options.factors,
            tanh=options.tanh,
        )
        super().__init__(options, replace(problem, architecture=factored))
        if self.problem.layout == problem.layout:
            raise OptionError(
                "ratio",
                f"with it, factors are larger than each weight of {whole.name} that they could "
                "stand for; take a smaller one, or a larger model",
            )
