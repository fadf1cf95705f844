"""Possible worlds: how far devices are from their models, from each other, and from step to step.

A device file's figures are the central estimate. In a *draw* of the world, the seconds of a
computation are multiplied by three factors of median 1, log-normal and independent:

    model error    one for all devices of a model and a network: it stays, however long one trains
    unit           one for a node's board: it stays as well
    step           one for each computation; of K steps, with the K-th part of a step's variance

and some boards throttle (`simfl.cost.heat`). Where a device file has measured samples of its steps,
these are drawn in the place of the third factor.

Each is drawn from the scenario's seed, the number of the draw, what it is for, and logical
coordinates (device model and network; node; verb, round, and which time the node does that in that
round): never from the order of events, the host or its clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import exp, sqrt
from random import Random
from statistics import NormalDist
from typing import Final

from simfl.cost.device import Device, Throttling
from simfl.cost.fixed import Trace
from simfl.cost.heat import Heat
from simfl.keys import seed_of
from simfl.work import Workload

_STANDARD: Final = NormalDist()
# of the 63 bits of a seed: with half a unit more, all that a float tells apart between 0 and 1
_BITS: Final = 52


def uniform(seed: int, *coordinates: str | int) -> float:
    """A number in (0, 1) for one use, by its coordinates alone.

    >>> uniform(1, "unit", 3, "pi4-0") == uniform(1, "unit", 3, "pi4-0") != uniform(1, "unit", 3)
    True
    """
    return ((seed_of(seed, *coordinates) >> (63 - _BITS)) + 0.5) / 2.0**_BITS


def lognormal(sd: float, seed: int, *coordinates: str | int) -> float:
    """A factor of median 1 whose natural logarithm has that standard deviation."""
    return exp(sd * _STANDARD.inv_cdf(uniform(seed, *coordinates)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Realization:
    """One possible world, and what may vary in it.

    Attributes:
        seed: the scenario's.
        draw: which world; 0 is the central estimate, in which no device varies.
        model: whether models are wrong.
        unit: whether boards differ.
        step: whether steps do.
        throttling: whether boards throttle.
    """

    seed: int
    draw: int = 0
    model: bool = True
    unit: bool = True
    step: bool = True
    throttling: bool = True

    @property
    def network_seed(self) -> int:
        """The seed of what happens to messages; in the central estimate, the scenario's own."""
        return seed_of(self.seed, "network", self.draw) if self.draw else self.seed

    @property
    def population_seed(self) -> int:
        """The seed of who is in a crowd: where boards differ, its members are drawn anew."""
        redrawn = self.draw and self.unit
        return seed_of(self.seed, "population", self.draw) if redrawn else self.seed

    def unit_of(self, device: Device, node: str) -> Unit | None:
        """A node's board in this world; None where it is as its file says."""
        return Unit(device, node, self) if self.draw else None


class Unit:
    """One node's board in one possible world, handed the time.

    Args:
        device: what its file says.
        node: the node's name.
        world: which world.
    """

    def __init__(self, device: Device, node: str, world: Realization) -> None:
        self._device, self._node, self._world = device, node, world
        varies = device.variation
        self._model_sd = varies.model.value if varies.model and world.model else 0.0
        self._step_sd = varies.step.value if varies.step and world.step else 0.0
        self._samples = device.cost if isinstance(device.cost, Trace) and world.step else None
        self._own = 1.0
        if varies.unit and world.unit:
            self._own = lognormal(varies.unit.value, world.seed, "unit", world.draw, node)
        self._heat = self._throttled(varies.throttling) if world.throttling else None
        self._lasting: dict[str, float] = {}
        self._done: Counter[tuple[str, int]] = Counter()

    def seconds(
        self, work: Workload, central_s: float, verb: str, round: int, now_s: float
    ) -> float:
        """How long a computation takes here.

        Args:
            work: what it asks.
            central_s: the device file's estimate.
            verb: what is computed.
            round: the round it belongs to.
            now_s: when it begins.
        """
        world, time = self._world, self._done[verb, round]
        self._done[verb, round] += 1
        where = world.draw, self._node, verb, round, time
        seconds = central_s
        if self._samples is not None:
            source = Random(seed_of(world.seed, "samples", *where))
            seconds += self._samples.drawn(work, source) - self._samples.seconds(work)
        elif self._step_sd:
            sd = self._step_sd / sqrt(max(1, work.steps))
            seconds *= lognormal(sd, world.seed, "step", *where)
        seconds *= self._lasts(work.model)
        return seconds if self._heat is None else self._heat.seconds(seconds, now_s)

    def computed(self, start_s: float, end_s: float) -> None:
        """It computed in that time, to the end or until it was interrupted."""
        if self._heat is not None:
            self._heat.computed(start_s, end_s)

    def _lasts(self, network: str) -> float:
        """The factors that do not change: the model's error, and the board's own."""
        known = self._lasting.get(network)
        if known is None:
            world, name = self._world, self._device.name
            error = 1.0
            if self._model_sd:
                error = lognormal(
                    self._model_sd, world.seed, "model error", world.draw, name, network
                )
            known = self._lasting[network] = error * self._own
        return known

    def _throttled(self, states: list[Throttling]) -> Heat | None:
        """The state that this board ends up in, if any: each has its share of the boards."""
        if not states:
            return None
        at = uniform(self._world.seed, "throttling", self._world.draw, self._node)
        for state in states:
            at -= state.share.value
            if at < 0:
                return Heat(state.speed.value, state.after.value if state.after else 0.0)
        return None
