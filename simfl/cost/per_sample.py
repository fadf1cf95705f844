"""So many seconds a sample, whatever the model: how populations of phones are published.

Source: Lai et al. 2022 (FedScale), whose clients take 3 x batch x steps x (milliseconds of an
inference) for a training.
"""

from __future__ import annotations

from typing import Literal

from simfl.cost.figures import Ratio, Time
from simfl.options import Options
from simfl.work import Passes, Workload


class PerSample(Options):
    """One time for all models, dense or pruned.

    Attributes:
        sample: a forward pass of one sample.
        training: how many such passes a sample of a training step takes.
    """

    kind: Literal["per_sample"]
    sample: Time
    training: Ratio

    def seconds(self, work: Workload) -> float:
        """Seconds of a workload's samples."""
        passes = self.training.value if work.passes is Passes.TRAIN else 1.0
        return work.samples * passes * self.sample.value
