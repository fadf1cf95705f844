"""What learning passes on: model states, who sent what, which turn. All frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from simfl.memo import Received
from simfl.pruning.masks import applied
from simfl.tensors import Masks, NamedTensors, Payload, manifest_of
from simfl.work import Manifest, Participant, Turn

__all__ = ["Loss", "ModelState", "Participant", "Payload", "Received", "Score", "Turn"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelState:
    """A model: its tensors, and its masks where it was pruned.

    Attributes:
        revived: whether entries outside the masks are not zero: a client's, trained with feedback.
        level: how often it was pruned (PruneFL's level).
        rounds: how often it was aggregated or mixed.
        samples: what the client or peer that trained it holds; 0 before.
        known: whether all that it will be sent to know its masks: the server, of a client's; of the
            server's, its clients, once all of them took part in a round.
    """

    tensors: NamedTensors
    masks: Masks | None = None
    revived: bool = False
    level: int = 0
    rounds: int = 0
    samples: int = 0
    known: bool = False

    def under(self, masks: Masks) -> Self:
        """The same under new masks, which nobody else has yet."""
        return replace(
            self,
            tensors=applied(self.tensors, masks),
            masks=masks,
            revived=False,
            known=False,
        )

    @property
    def structure(self) -> Masks | None:
        """Which entries are stored, and travel; None for all of them."""
        return None if self.revived else self.masks

    def manifest(self) -> Manifest:
        """Its counts."""
        return manifest_of(self.tensors, self.structure, known=self.known)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a model makes of a client's samples.

    Attributes:
        loss: root of the mean square of the samples' losses.
    """

    loss: float

    def manifest(self) -> Manifest:
        """Its metric."""
        return Manifest(metrics={"loss": self.loss})
