"""What learning passes on: model states, who sent what, which turn. All frozen."""

from __future__ import annotations

from dataclasses import dataclass

from simfl.memo import Received
from simfl.tensors import Masks, NamedTensors, Payload, manifest_of
from simfl.work import Manifest, Participant, Turn

__all__ = ["ModelState", "Participant", "Payload", "Received", "Score", "Turn"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelState:
    """A model: its tensors, and its masks where it was pruned.

    Attributes:
        level: how often it was pruned (PruneFL's level).
        rounds: how often it was aggregated or mixed.
        samples: what the client or peer that trained it holds; 0 before.
    """

    tensors: NamedTensors
    masks: Masks | None = None
    level: int = 0
    rounds: int = 0
    samples: int = 0

    def manifest(self) -> Manifest:
        """Its counts."""
        return manifest_of(self.tensors, self.masks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an evaluation found.

    Attributes:
        accuracy: share of test samples classified right.
        loss: mean over test samples, by the training loss.
    """

    accuracy: float
    loss: float

    def manifest(self) -> Manifest:
        """Its metrics."""
        return Manifest(metrics={"accuracy": self.accuracy, "loss": self.loss})
