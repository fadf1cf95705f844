"""FLASH: agree on how dense each layer shall be, then train one sparse model all together.

Stage 1 is the first round: its clients train from one random mask for many epochs, between which
the mask moves to where weights are large. Of that only the layers' densities are kept: the server
takes their mean, draws a random mask at these densities, and the model anew. In stage 2, ``spdst``
keeps that mask. With ``jmwst`` it goes on moving: clients move it within their turns, and the
server takes the layers' densities from their masks, and of each layer the largest weights.

Source: Babakniya et al. 2023, stages 1 and 2; its public code.

Departs from the public code: masks have exactly as many entries as the density says, where the code
draws each entry by itself; what a layer cannot hold the others get, where there it is lost; a move
drops int(rate x n) of n weights, where the code rounds up; a turn of a single step has no move; and
of densities below the target the server makes the target, where the code leaves them. The server's
model of ``jmwst`` is evaluated under its new mask; the code evaluates the mean before it takes one.
That a client of stage 1 sends the densities of its layers and nothing else is assumed: the server
has no use for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor

from simfl.algorithms.base import CountRule, WorkRule
from simfl.algorithms.fedavg import AveragedSGD, Examples, FedAvgOptions, as_sent, train_work
from simfl.errors import OptionError, ProtocolError
from simfl.keys import seed_of
from simfl.learning.averaging import masked_mean
from simfl.learning.problem import LocalUpdate, Problem
from simfl.learning.sgd import Rule, Trained, Training, train
from simfl.learning.state import ModelState, Payload, Received, Turn
from simfl.options import Positive, Share
from simfl.pruning.masks import applied, keep_largest, over
from simfl.pruning.moves import apportioned, moved
from simfl.pruning.scope import masks_of
from simfl.registry import ALGORITHMS
from simfl.tensors import Masks, NamedTensors
from simfl.work import DTYPE, Manifest, Participant, TensorInfo, Workload

_DENSITIES: Final = "densities"
# weight and mask read and written by each move: assumed
_MOVE_BYTES: Final = 16


class FlashOptions(FedAvgOptions):
    """Densities, and when masks move; defaults are the public code's.

    Attributes:
        variant: the mask of stage 2 stays (``spdst``), or moves (``jmwst``).
        density: d, the share of the masked layers' weights that there are, of all together.
        sensitivity_epochs: of a turn in stage 1.
        prune_rate: share of a layer's weights that goes when a mask moves; it falls linearly over
            the steps of a turn, to 0 at its end.
        update_every: r_int, the rounds from one in which the masks of ``jmwst`` move to the next.
        mean: of a weight, over ``all`` clients, 0 where one has pruned it; or over the ``holders``,
            those whose mask has it. With ``spdst`` these are all.
        layers: that are masked: ``all``, or convolutions alone (``conv``), as the public code has
            it for ResNets.
    """

    examples: ClassVar[Examples] = (
        {"variant": "spdst", "density": 0.2, "sensitivity_epochs": 3},
        {"variant": "jmwst", "density": 0.2, "sensitivity_epochs": 2},
        {
            **{"variant": "jmwst", "density": 0.3, "sensitivity_epochs": 1},
            **{"update_every": 2, "mean": "holders"},
        },
    )

    average: Literal["samples", "uniform"] = "uniform"
    variant: Literal["spdst", "jmwst"]
    density: Share = 0.05
    sensitivity_epochs: Positive = 10
    prune_rate: Share = 0.25
    update_every: Positive = 1
    mean: Literal["all", "holders"] = "all"
    layers: Literal["all", "conv"] = "all"


@dataclass(frozen=True, kw_only=True, eq=False)
class FlashState(ModelState):
    """A model, and who has its mask.

    Attributes:
        densities: of a client after stage 1, the share that each layer keeps, (layers,): all that
            it sends.
        told: of the server, the clients that have its mask.
    """

    densities: Tensor | None = None
    told: frozenset[int] = frozenset()

    def manifest(self) -> Manifest:
        """Its counts, those of the densities that will be sent included."""
        counts = super().manifest()
        if self.densities is None:
            return counts
        return Manifest(tensors=(*counts.tensors, _info(len(self.densities))))


def _info(layers: int) -> TensorInfo:
    return TensorInfo(name=_DENSITIES, shape=(layers,), dtype=DTYPE, nonzero=layers)


def _train_work(algorithm: Flash, state: Manifest, turn: Turn) -> Workload:
    work = train_work(algorithm, state, turn)
    moves = len(algorithm.ends(work.steps, turn)) - 1
    return replace(work, moved_bytes=work.moved_bytes + moves * _MOVE_BYTES * state.size)


def _train_counts(algorithm: Flash, state: Manifest, turn: Turn) -> Manifest | None:
    return None if algorithm.moves_in(turn) else state


def _share_counts(
    algorithm: Flash, state: Manifest, to: Participant | None = None
) -> Manifest | None:
    """Whether a client has the mask, the server's state tells by value only."""
    if to is not None:
        return None
    sent = as_sent(algorithm, state)
    last = sent.tensors[-1]
    return Manifest(tensors=(last,)) if last.name == _DENSITIES else sent


def _aggregate_counts(
    _: Flash, state: Manifest, received: tuple[Received[Manifest], ...]
) -> Manifest | None:
    """A new mask where densities come, or masks that moved."""
    sent = [t for r in received for t in r.payload.tensors]
    if any(t.name == _DENSITIES or (t.pruned and not t.known) for t in sent):
        return None
    return state


@ALGORITHMS.register("flash", options=FlashOptions)
class Flash(AveragedSGD[FlashOptions]):
    """A sensitivity round, then FedAvg under one mask."""

    addresses: ClassVar[bool] = True
    work: ClassVar[Mapping[str, WorkRule]] = {**AveragedSGD.work, "train": _train_work}
    counts: ClassVar[Mapping[str, CountRule]] = {
        **AveragedSGD.counts,
        "train": _train_counts,
        "share": _share_counts,
        "aggregate": _aggregate_counts,
    }

    def __init__(self, options: FlashOptions, problem: Problem) -> None:
        super().__init__(options, problem)
        layers = problem.architecture.layers
        masked = [n.weight for n in layers if options.layers == "all" or n.kind == "conv"]
        if not masked:
            raise OptionError(
                "layers", f"{problem.architecture.name} has no convolutions; give all"
            )
        self._shapes = {name: problem.layout.shape_of[name] for name in masked}
        sizes = dict(zip(problem.layout.names, problem.layout.sizes, strict=True))
        self._sizes = {name: sizes[name] for name in masked}

    def initial(self) -> FlashState:
        """The model as initialised, under a random mask of one density in all layers."""
        state = FlashState(tensors=self.problem.initial_tensors())
        return state.under(self._drawn(self._counts(self._sizes), 1))

    def local_in(self, turn: Turn) -> LocalUpdate:
        """Stage 1 has epochs of its own."""
        local = self.problem.local
        if turn.index > 1:
            return local
        return replace(local, steps=None, epochs=self.options.sensitivity_epochs)

    def rule(self, turn: Turn) -> Rule:
        """The learning rate begins anew with stage 2."""
        rate = self.problem.local.rate_in(max(1, turn.index - 1))
        return replace(super().rule(turn), rate=rate)

    def moves_in(self, turn: Turn) -> bool:
        """Whether clients move their masks in a turn: in stage 1, and in some rounds of JMWST."""
        options = self.options
        if turn.index == 1:
            return True
        return options.variant == "jmwst" and (turn.index - 2) % options.update_every == 0

    def ends(self, steps: int, turn: Turn) -> list[int]:
        """After how many steps of a turn each of its parts ends; between them the mask moves.

        Parts are epochs; a turn of a single epoch, or of less, has two, of which the first has the
        middle step.
        """
        if not self.moves_in(turn):
            return [steps]
        held = self.problem.participants[turn.client].samples
        epoch = self.problem.local.steps_per_epoch(held)
        cuts = list(range(epoch, steps, epoch)) or [steps // 2 + 1]
        return [cut for cut in cuts if cut < steps] + [steps]

    def train_all(self, turns: Sequence[tuple[ModelState, Turn]]) -> list[ModelState]:
        """Part by part, the first parts of all turns side by side, then the second ones."""
        problem = self.problem
        now = [self.begin(state, turn) for state, turn in turns]
        batches = [training.batches for training in now]
        ends = [
            self.ends(len(every), turn) for every, (_, turn) in zip(batches, turns, strict=True)
        ]
        for part in range(max(map(len, ends), default=0)):
            some = [i for i in range(len(turns)) if part < len(ends[i])]
            starts = {i: ends[i][part - 1] if part else 0 for i in some}
            parts = [
                replace(
                    now[i],
                    batches=batches[i][starts[i] : ends[i][part]],
                    seed=seed_of(now[i].seed, part) if part else now[i].seed,
                )
                for i in some
            ]
            trained = train(problem.network, problem.local, parts)
            for i, done in zip(some, trained, strict=True):
                # the optimiser goes on over a move, as one of PyTorch's does
                now[i] = replace(now[i], tensors=done.tensors, moments=done.moments)
                if part < len(ends[i]) - 1:
                    now[i] = self._moved(now[i], turns[i][1], ends[i][part] / ends[i][-1])
        return [
            self.end(self._left(state, training, len(cuts) > 1), turn, Trained(training.tensors))
            for training, (state, turn), cuts in zip(now, turns, ends, strict=True)
        ]

    def end(self, state: ModelState, turn: Turn, trained: Trained) -> ModelState:
        """After stage 1, what matters is how dense the layers are."""
        state = super().end(state, turn, trained)
        if turn.index > 1:
            return state
        assert isinstance(state, FlashState)
        assert state.masks is not None
        kept = [float(state.masks.views[name].mean()) for name in self._sizes]
        return replace(state, densities=torch.tensor(kept))

    @property
    def relays(self) -> bool:
        """The mask is agreed on at the server."""
        return False

    def share(self, state: ModelState, to: Participant | None = None) -> Payload:
        """The model; to who has the mask, or whose mask did not move, without it."""
        assert isinstance(state, FlashState)
        if state.densities is not None:
            return self.sent(Payload(NamedTensors.pack({_DENSITIES: state.densities})))
        known = to.index in state.told if to else state.known
        return self.sent(Payload(state.tensors, state.structure, known=known))

    def adopt(self, state: ModelState | None, received: Received[Payload]) -> FlashState:
        """The server's model, and its mask."""
        base = super().adopt(state, received)
        return FlashState(tensors=base.tensors, masks=base.masks, known=base.known)

    def aggregate(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """After stage 1 a model anew; else the mean, in JMWST under a new mask where one is due."""
        assert isinstance(state, FlashState)
        if state.rounds == 0:
            if any(r.payload.tensors.layout.names != (_DENSITIES,) for r in received):
                raise ProtocolError(
                    "flash begins with a stage in which each client has one turn, and some had "
                    "two; take synchronous"
                )
            return self._second_stage(state, received)
        mean = replace(
            self._mean(state, received),
            told=state.told | {r.sender.index for r in received},
        )
        if not self.moves_in(Turn(0, mean.rounds)):
            return mean
        wanted = {
            name: fmean(float(_masks(r).views[name].sum()) for r in received)
            for name in self._sizes
        }
        counts = self._counts(wanted)
        sizes = {name: mean.tensors[name].abs() for name in counts}
        views = {
            name: keep_largest(torch.ones_like(size), size, counts[name])
            for name, size in sizes.items()
        }
        return self._under(mean, over(mean.tensors.layout, views))

    def mix(self, state: ModelState, received: tuple[Received[Payload], ...]) -> ModelState:
        """Not without a server.

        Raises:
            ProtocolError: masks are agreed on at the server.
        """
        raise ProtocolError(
            "flash agrees on a mask at a server, and here are peers; take the protocol synchronous"
        )

    def forecast(self) -> Manifest:
        """Under the first mask, by counting."""
        counts = self._counts(self._sizes)
        tensors = (
            replace(t, nonzero=counts.get(t.name, t.nonzero)) for t in super().forecast().tensors
        )
        return Manifest(tensors=tuple(tensors))

    def _mean(self, state: FlashState, received: tuple[Received[Payload], ...]) -> FlashState:
        if self.options.mean == "all":
            mean = self._averaged(state, [], received)
            return replace(state, tensors=mean.tensors, rounds=mean.rounds)
        flat = masked_mean(
            [r.payload.tensors.flat for r in received],
            [_masks(r).flat for r in received],
            self.weights_of([r.sender.samples for r in received]),
            torch.zeros_like(state.tensors.flat),
        )
        tensors = NamedTensors(state.tensors.layout, flat)
        return replace(state, tensors=tensors, rounds=state.rounds + 1)

    def _second_stage(
        self, state: FlashState, received: tuple[Received[Payload], ...]
    ) -> FlashState:
        """A random mask at the mean of the clients' densities, and the model drawn anew."""
        sent = torch.stack([r.payload.tensors[_DENSITIES] for r in received]).mean(0).tolist()
        pairs = zip(self._sizes.items(), sent, strict=True)
        counts = self._counts({name: size * density for (name, size), density in pairs})
        fresh = replace(state, tensors=self.problem.initial_tensors(None, 2), rounds=1)
        return self._under(fresh, self._drawn(counts, 2))

    def _under(self, state: FlashState, masks: Masks) -> FlashState:
        """The same under a mask that no client has."""
        return replace(state.under(masks), told=frozenset())

    def _counts(self, wanted: Mapping[str, float]) -> dict[str, int]:
        """Entries of each layer, in proportion to what is wanted: together the density's."""
        total = round(self.options.density * sum(self._sizes.values()))
        return apportioned(total, wanted, self._sizes)

    def _drawn(self, counts: Mapping[str, int], stage: int) -> Masks:
        seed = seed_of(self.problem.seed, "random mask", stage)
        views = masks_of(self._shapes, counts, torch.Generator().manual_seed(seed))
        device = self.problem.device
        return over(self.problem.layout, {name: mask.to(device) for name, mask in views.items()})

    def _moved(self, training: Training, turn: Turn, done: float) -> Training:
        """The same after a move, with that share of the turn's steps done."""
        assert training.masks is not None
        seed = seed_of(self.problem.seed, "move", turn.client, turn.index, repr(done))
        views = moved(
            {name: training.tensors[name] for name in self._sizes},
            {name: training.masks.views[name] for name in self._sizes},
            self.options.prune_rate * (1 - done),
            torch.Generator().manual_seed(seed),
        )
        masks = over(training.tensors.layout, views)
        return replace(training, tensors=applied(training.tensors, masks), masks=masks)

    def _left(self, state: ModelState, training: Training, moves: bool) -> ModelState:
        """A client's state with the mask that its turn ended with."""
        known = state.known and not moves
        return replace(state, samples=len(training.data), masks=training.masks, known=known)


def _masks(received: Received[Payload]) -> Masks:
    assert received.payload.masks is not None
    return received.payload.masks
