"""FedAvg. Source: McMahan et al. 2017, Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Generic, Literal, TypeVar

from simfl.algorithms.base import CountRule, WorkRule
from simfl.errors import OptionError
from simfl.keys import seed_of
from simfl.learning.averaging import rebased, weighted_mean
from simfl.learning.evaluate import evaluate, root_mean_square_loss
from simfl.learning.optimizers import slots
from simfl.learning.problem import LocalUpdate, Problem
from simfl.learning.quantize import quantised
from simfl.learning.sgd import Rule, Trained, Training, train, turn_batches
from simfl.learning.state import Loss, ModelState, Payload, Received, Score, Turn
from simfl.options import Options
from simfl.registry import ALGORITHMS
from simfl.tensors import Layout, NamedTensors, manifest_of
from simfl.work import DTYPE, Kind, Manifest, Participant, Storage, Workload, as_held, sent_as

_FLOAT_BYTES = 4

Examples = tuple[Mapping[str, Any], ...]


class FedAvgOptions(Options):
    """How updates are averaged.

    Attributes:
        average: each client or peer by its ``samples``, or all alike (``uniform``).
    """

    examples: ClassVar[Examples] = ({}, {"average": "uniform"})
    """Small settings of every algorithm, with which the contract suite plays it."""
    spans_rounds: ClassVar[tuple[str, ...]] = ()
    """Options that count the rounds of a whole training: ``--scale`` shortens them too."""
    needs_filters: ClassVar[bool] = False
    """Whether the model must have convolutions."""

    average: Literal["samples", "uniform"] = "samples"


O_co = TypeVar("O_co", bound=FedAvgOptions, covariant=True)


def train_work(algorithm: AveragedSGD[Any], state: Manifest, turn: Turn) -> Workload:
    """The steps of a turn on the client's samples."""
    local = algorithm.local_in(turn)
    held = algorithm.problem.participants[turn.client].samples
    steps, samples = local.steps_on(held), local.samples_in(held, turn.index)
    moved = steps * algorithm.bytes_per_weight * state.size
    return algorithm.training(state, steps=steps, samples=samples, moved_bytes=moved)


def _adopt_work(_: AveragedSGD[Any], _state: None, received: Received[Manifest]) -> Workload:
    return _moving(2 * _FLOAT_BYTES * received.payload.nonzero)


def _aggregate_work(
    _: AveragedSGD[Any], state: Manifest, received: tuple[Received[Manifest], ...]
) -> Workload:
    read = sum(r.payload.nonzero for r in received)
    return _moving(_FLOAT_BYTES * (read + state.nonzero))


def _mix_work(
    _: AveragedSGD[Any], state: Manifest, received: tuple[Received[Manifest], ...]
) -> Workload:
    read = state.nonzero + sum(r.payload.nonzero for r in received)
    return _moving(_FLOAT_BYTES * (read + state.nonzero))


def _rebase_work(
    _: AveragedSGD[Any], _now: Manifest, update: Manifest, _base: Manifest, _weight: float
) -> Workload:
    # two models and the update are read, one is written. Each counts as the update does: what the
    # present model is for this client was sent to nobody, so no trace has its counts
    return _moving(4 * _FLOAT_BYTES * update.nonzero)


@lru_cache(maxsize=1024)
def _moving(nbytes: int) -> Workload:
    return Workload(moved_bytes=nbytes)


def _as_before(_: AveragedSGD[Any], state: Manifest, *_arguments: Any) -> Manifest:
    """Nothing that is stored is added or removed."""
    return state


def as_sent(
    algorithm: AveragedSGD[Any], state: Manifest, _to: Participant | None = None
) -> Manifest:
    """All that is stored, with as many bits as travel."""
    return sent_as(state, algorithm.problem.quantize or DTYPE)


def as_received(
    _: AveragedSGD[Any], _state: Manifest | None, received: Received[Manifest]
) -> Manifest:
    """Who sent it knows its structure."""
    return told(as_held(received.payload))


def _as_averaged(
    algorithm: AveragedSGD[Any], state: Manifest, received: tuple[Received[Manifest], ...]
) -> Manifest:
    """Who has sent knows the structure."""
    return told(state) if len(received) == algorithm.problem.clients else state


def _rebased(
    _: AveragedSGD[Any], now: Manifest, update: Manifest, base: Manifest, _weight: float
) -> Manifest | None:
    """Whose masks it has, only their values tell."""
    if any(info.pruned for counts in (now, update, base) for info in counts.tensors):
        return None
    return as_held(update)


@lru_cache(maxsize=1024)
def told(manifest: Manifest) -> Manifest:
    """The counts once it is known which entries are stored."""
    if not any(info.pruned and not info.known for info in manifest.tensors):
        return manifest
    return replace(manifest, tensors=tuple(replace(t, known=t.pruned) for t in manifest.tensors))


@lru_cache(maxsize=1024)
def dense(manifest: Manifest) -> Manifest:
    """The counts with every entry stored."""
    tensors = tuple(replace(t, nonzero=t.size, known=False) for t in manifest.tensors)
    return replace(manifest, tensors=tensors)


class AveragedSGD(Generic[O_co]):
    """The verbs of FedAvg, for algorithms to build upon.

    Args:
        options: the scenario's options.
        problem: model, data and local update.
    """

    keeps_client_state: ClassVar[bool] = False
    addresses: ClassVar[bool] = False
    work: ClassVar[Mapping[str, WorkRule]] = {
        "train": train_work,
        "adopt": _adopt_work,
        "aggregate": _aggregate_work,
        "mix": _mix_work,
        "rebase": _rebase_work,
    }
    counts: ClassVar[Mapping[str, CountRule]] = {
        "train": _as_before,
        "share": as_sent,
        "adopt": as_received,
        "aggregate": _as_averaged,
        "mix": _as_before,
        "rebase": _rebased,
    }
    heavy: ClassVar[frozenset[str]] = frozenset({"train", "score", "loss"})

    def __init__(self, options: O_co, problem: Problem) -> None:
        architecture = problem.architecture
        if options.needs_filters and all(layer.kind != "conv" for layer in architecture.layers):
            raise OptionError("name", f"cuts filters, and {architecture.name} has none; take a CNN")
        self.options = options
        self.problem = problem
        self._trainings: dict[tuple[Manifest, int, int, int], Workload] = {}

    @property
    def name(self) -> str:
        """Class, options and problem."""
        return f"{type(self).__name__} {self.options!r} {self.problem.name}"

    @property
    def relays(self) -> bool:
        """Models are averaged above as below."""
        return True

    def initial(self) -> ModelState:
        """The model as initialised."""
        return ModelState(tensors=self.problem.initial_tensors())

    def train(self, state: ModelState, turn: Turn) -> ModelState:
        """One local update on the client's data."""
        return self.train_all([(state, turn)])[0]

    def train_all(self, turns: Sequence[tuple[ModelState, Turn]]) -> list[ModelState]:
        """Several local updates, side by side; each as `train` alone would make it."""
        trainings = [self.begin(state, turn) for state, turn in turns]
        trained = train(self.problem.network, self.problem.local, trainings)
        return [
            self.end(replace(state, samples=len(training.data)), turn, done)
            for done, training, (state, turn) in zip(trained, trainings, turns, strict=True)
        ]

    def begin(self, state: ModelState, turn: Turn) -> Training:
        """What a turn's training starts from."""
        problem = self.problem
        data = problem.data_of(turn.client)
        return Training(
            tensors=state.tensors,
            masks=state.masks,
            data=data,
            batches=turn_batches(self.local_in(turn), len(data), turn, problem.seed),
            rule=self.rule(turn),
            seed=seed_of(problem.seed, "draws", turn.client, turn.index),
        )

    def local_in(self, turn: Turn) -> LocalUpdate:
        """The local update of a turn: the scenario's, unless some turn has its own steps."""
        return self.problem.local

    def rule(self, turn: Turn) -> Rule:
        """How a turn's steps go."""
        return Rule(rate=self.problem.local.rate_in(turn.index), terms=self.problem.objective)

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """A client's or peer's state after a turn, from the one before."""
        return replace(state, tensors=trained.tensors)

    def share(self, state: ModelState, to: Participant | None = None) -> Payload:
        """All of the model."""
        return self.sent(Payload(state.tensors, state.structure, known=state.known))

    def sent(self, payload: Payload) -> Payload:
        """What arrives of a payload: all that `share` returns goes through here."""
        dtype = self.problem.quantize
        return quantised(payload, dtype) if dtype else payload

    def adopt(self, state: ModelState | None, received: Received[Payload]) -> ModelState:
        """The server's model replaces the client's; what it has sent, the server knows."""
        payload = received.payload
        return ModelState(
            tensors=payload.tensors, masks=payload.masks, known=payload.masks is not None
        )

    def aggregate(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """The mean of the updates."""
        everybody = state.masks is not None and len(received) == self.problem.clients
        mean = self._averaged(state, [], received)
        return self.settle(replace(mean, known=state.known or everybody))

    def rebase(self, now: Payload, update: Payload, base: Payload, weight: float) -> Payload:
        """The present model, moved as far as the update moved its own, times the weight.

        Under the present masks, unless the client has chosen others than it was sent.

        Source: Nguyen et al. 2022 (FedBuff), Algorithm 1, lines 5 and 8; with ``base`` the present
        model, Xie et al. 2019 (FedAsync), Algorithm 1: (1 - weight) now + weight update.
        """
        return rebased(now, update, base, weight)

    def loss(self, state: ModelState, turn: Turn) -> Loss:
        """Root of the mean square. Source: Lai et al. 2021 (Oort), equation (1)."""
        return Loss(loss=root_mean_square_loss(self.problem, state, turn.client))

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """The mean of a peer's own model and its neighbours'.

        With ``uniform`` on a ring, the doubly stochastic weights 1/3 of Lian et al. 2017.
        """
        return self.settle(self._averaged(state, [(state.tensors, state.samples)], received))

    def settle(self, mean: ModelState) -> ModelState:
        """What a server or peer makes of a mean: nothing, unless it prunes."""
        return mean

    def _averaged(
        self,
        state: ModelState,
        own: list[tuple[NamedTensors, int]],
        received: tuple[Received[Payload], ...],
    ) -> ModelState:
        """The state with the mean of some tensors, each with its samples: own ones first."""
        every = [*own, *((r.payload.tensors, r.sender.samples) for r in received)]
        weights = self.weights_of([samples for _, samples in every])
        mean = weighted_mean([tensors.flat for tensors, _ in every], weights)
        return replace(
            state, tensors=NamedTensors(state.tensors.layout, mean), rounds=state.rounds + 1
        )

    def weights_of(self, samples: Sequence[int]) -> list[int]:
        """How much models count in a mean, by the samples that each was trained on."""
        return [1] * len(samples) if self.options.average == "uniform" else list(samples)

    def model(self, state: ModelState) -> ModelState:
        """The state itself."""
        return state

    def score(self, state: ModelState) -> Score:
        """On the test set."""
        return evaluate(self.problem, self.model(state))

    def forecast(self) -> Manifest:
        """The dense model."""
        return manifest_of(self.problem.initial_tensors(), None)

    @property
    def bytes_per_weight(self) -> int:
        """Memory traffic of a step for each parameter, beside the data's loss and its descent."""
        return sum(term.bytes_per_weight for term in self.problem.objective)

    def training(
        self, state: Manifest, *, steps: int, samples: int, moved_bytes: int = 0
    ) -> Workload:
        """The workload of training a model with these counts on a client; worked out once."""
        known = self._trainings.get((state, steps, samples, moved_bytes))
        if known is not None:
            return known
        stored, local = {t.name: t for t in state.tensors}, self.problem.local
        architecture = self.problem.shaped(self._layout(state))
        layers = tuple(
            replace(
                layer,
                nonzero=stored[layer.name].nonzero,
                storage=self.storage(layer.kind, pruned=stored[layer.name].pruned),
            )
            if layer.keeps_weight
            else layer
            for layer in architecture.operations
        )
        work = Workload(
            model=architecture.name,
            layers=layers,
            steps=steps,
            samples=samples,
            batch=min(samples, local.batch_size),
            slots=slots(local.optimizer, local.momentum),
            moved_bytes=moved_bytes,
        )
        self._trainings[state, steps, samples, moved_bytes] = work
        return work

    def _layout(self, manifest: Manifest) -> Layout:
        """Of the model among counted tensors."""
        names = self.problem.layout.shape_of
        held = [(t.name, t.shape) for t in manifest.tensors if t.name in names]
        return Layout(tuple(name for name, _ in held), tuple(shape for _, shape in held))

    def storage(self, kind: Kind, *, pruned: bool) -> Storage:
        """How a client holds a layer while it trains."""
        return Storage.MASKED if pruned else Storage.DENSE

    def holds_from(self, fits: Callable[[Workload], bool]) -> str:
        """FedAvg's model has one size."""
        return ""


@ALGORITHMS.register("fedavg", options=FedAvgOptions)
class FedAvg(AveragedSGD[FedAvgOptions]):
    """Train locally, average, repeat. Source: McMahan et al. 2017, Algorithm 1."""
