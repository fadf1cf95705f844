"""Flows over routes: rates are shared anew whenever a flow starts or ends, or a link changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

from simpy import Environment, Event

from simfl.cost.link import NetworkModel
from simfl.cost.sharing import Route, max_min_rates
from simfl.errors import NetworkError
from simfl.events.activity import Activity

# a flow is over when less than this is left: far below a bit, far above rounding
_REST_BITS: Final = 1e-6


@dataclass(slots=True, eq=False)
class _Flow:
    """A transfer under way."""

    route: Route
    left_bits: float
    done: Event
    rate_bps: float = field(default=0.0)


class Network:
    """Transfers in progress between places of a network model."""

    def __init__(self, env: Environment, model: NetworkModel) -> None:
        self._env = env
        self._model = model
        self._flows: list[_Flow] = []
        self._updated_s = env.now
        self._epoch = 0
        # the instant for which a sharing is due
        self._shared_s = -inf

    @property
    def flows(self) -> int:
        """How many are in progress."""
        return len(self._flows)

    def transfer(self, source: str, target: str, nbytes: int) -> Activity[None]:
        """Move bytes; takes the fixed delay, then the time at the shared rate.

        Interrupted, the flow is cut and gives its share back.

        Raises:
            NetworkError: no route.
        """
        route = self._model.route(source, target)
        if route is None:
            raise NetworkError(
                f"no route from '{source}' to '{target}'; the network does not join them"
            )
        yield self._env.timeout(self._model.delay_s(source, target, nbytes))
        size = self._model.wire_bytes(nbytes)
        if not size or not route:
            return
        flow = _Flow(route, 8.0 * size, self._env.event())
        self._advance()
        self._flows.append(flow)
        self._share_soon()
        try:
            yield flow.done
        finally:
            if flow in self._flows:
                self._advance()
                self._flows.remove(flow)
                self._share_soon()

    def _advance(self) -> None:
        """Bring every flow up to now."""
        elapsed = self._env.now - self._updated_s
        self._updated_s = self._env.now
        if elapsed:
            for flow in self._flows:
                flow.left_bits -= flow.rate_bps * elapsed

    def _share_soon(self) -> None:
        """Share once for all that starts and ends at this instant."""
        if self._shared_s != self._env.now:
            self._shared_s = self._env.now
            self._wake_in(0.0)

    def _wake_in(self, seconds: float) -> None:
        self._epoch += 1
        epoch = self._epoch
        wake = self._env.timeout(seconds)
        assert wake.callbacks is not None
        wake.callbacks.append(lambda _: self._wake(epoch))

    def _wake(self, epoch: int) -> None:
        """End what is over, share the rest; a later change has made older wake-ups void."""
        if epoch != self._epoch:
            return
        self._shared_s = -inf
        self._advance()
        over = [flow for flow in self._flows if self._is_over(flow)]
        if over:
            self._flows = [flow for flow in self._flows if flow not in over]
            for flow in over:
                flow.done.succeed()
        if not self._flows:
            return
        now = self._env.now
        capacity = self._model.capacity_at(now)
        rates = max_min_rates([flow.route for flow in self._flows], capacity)
        soonest = self._model.next_change_s(now) - now
        for flow, rate in zip(self._flows, rates, strict=True):
            flow.rate_bps = rate
            # at a rate of 0, in an outage, only a change helps
            if rate:
                soonest = min(soonest, flow.left_bits / rate)
        self._wake_in(soonest)

    def _is_over(self, flow: _Flow) -> bool:
        """Whether nothing is left, or so little that the clock cannot show the time it takes."""
        now = self._env.now
        left_s = flow.left_bits / flow.rate_bps if flow.rate_bps else inf
        return flow.left_bits <= _REST_BITS or now + left_s <= now
