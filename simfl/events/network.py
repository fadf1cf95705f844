"""Transfers over a network's links: when each one ends, given what the others take."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

from simpy import Environment, Event

from simfl.cost.bundles import Bundles
from simfl.cost.fair import fitting
from simfl.cost.flows import Flows
from simfl.cost.link import NetworkModel
from simfl.errors import NetworkError
from simfl.events.activity import Activity


class Network:
    """Transfers in progress between places of a network model."""

    def __init__(self, env: Environment, model: NetworkModel) -> None:
        self._env = env
        self._model = model
        capacity = model.capacity
        self._index: dict[Hashable, int] = {name: i for i, name in enumerate(capacity)}
        self._flows: Flows = Bundles(list(capacity.values()))
        self._done: dict[int, Event] = {}
        # what was asked of the model before: links, their usage, delay
        self._paths: dict[tuple[str, str], tuple[tuple[int, ...], tuple[float, ...], float]] = {}
        self._epoch = 0
        self._next_end_s = inf
        # the instant for which a sharing is due
        self._shared_s = -inf

    @property
    def flows(self) -> int:
        """How many are in progress."""
        return len(self._done)

    def transfer(self, source: str, target: str, nbytes: int) -> Activity[None]:
        """Move bytes; takes the fixed delay, then the time at the shared rate.

        Interrupted, the flow is cut and gives its share back.

        Raises:
            NetworkError: no route.
        """
        links, usage, delay_s = self._paths.get((source, target)) or self._path(source, target)
        env = self._env
        yield env.timeout(delay_s)
        if not nbytes or not links:
            return
        flow = self._flows.start(env.now, links, usage, 8.0 * nbytes)
        done = self._done[flow] = env.event()
        self._share_soon()
        try:
            yield done
        finally:
            if flow in self._done:
                del self._done[flow]
                self._flows.cut(env.now, flow)
                self._share_soon()

    def _path(self, source: str, target: str) -> tuple[tuple[int, ...], tuple[float, ...], float]:
        route = self._model.route(source, target)
        if route is None:
            raise NetworkError(
                f"no route from '{source}' to '{target}'; the network does not join them"
            )
        crossed = sorted((self._index[resource], usage) for resource, usage in route.items())
        links = tuple(link for link, _ in crossed)
        usages = tuple(usage for _, usage in crossed)
        path = links, usages, self._model.delay_s(source, target)
        self._paths[source, target] = path
        return path

    def _share_soon(self) -> None:
        """Share once for all that starts and ends at this instant."""
        if self._shared_s != self._env.now:
            self._shared_s = self._env.now
            self._wake_in(0.0)

    def _wake_in(self, seconds: float) -> None:
        self._epoch += 1
        wake = self._env.timeout(seconds, self._epoch)
        assert wake.callbacks is not None
        wake.callbacks.append(self._wake)

    def _wake(self, wake: Event) -> None:
        """End what is over, share the rest; a later change has made older wake-ups void."""
        if wake.value != self._epoch:
            return
        self._shared_s = -inf
        now_s = self._env.now
        if now_s >= self._next_end_s:
            for flow in self._flows.ended(now_s):
                self._done.pop(flow).succeed()
        self._flows = fitting(self._flows)
        self._next_end_s = next_s = self._flows.next_end_s()
        if next_s < inf:
            self._wake_in(next_s - now_s)
