"""Messages on their way: a SimPy process waits for each, and one wake-up for all of them."""

from __future__ import annotations

from math import inf
from typing import Final

from simpy import Environment, Event, Interrupt

from simfl.cost.carrier import Carrier, LinkUse
from simfl.errors import NetworkError
from simfl.events.activity import Activity

# what rounding may add to a sum of a hundred thousand rates or sizes
_ROUNDING: Final = 1e-9


class Cut(Interrupt):
    """A message was given up.

    Attributes:
        crossed_bytes: of it, that had left by then.
    """

    def __init__(self, cause: object, crossed_bytes: int) -> None:
        super().__init__(cause)
        self.crossed_bytes = crossed_bytes


class Network:
    """Transfers in progress between places.

    Args:
        env: the event loop.
        carrier: what moves the bytes.
        verify: look at every link at every event, and at the end at what went in and came out.
    """

    def __init__(self, env: Environment, carrier: Carrier, *, verify: bool = False) -> None:
        self._env = env
        self._carrier = carrier
        self._verify = verify
        self._done: dict[int, Event] = {}
        self._epoch = 0
        self._next_s = inf
        # the instant for which a look is due
        self._due_s = -inf

    @property
    def flows(self) -> int:
        """How many are in progress."""
        return len(self._done)

    def transfer(self, source: str, target: str, nbytes: int) -> Activity[None]:
        """Move bytes; takes what comes before, then the time on the links.

        Interrupted, the message is cut and gives its share back.

        Raises:
            NetworkError: no route.
            Cut: interrupted after it had begun to cross.
        """
        env, carrier = self._env, self._carrier
        yield env.timeout(carrier.delay_s(source, target, nbytes))
        flow = carrier.start(env.now, source, target, nbytes)
        if flow is None:
            return
        done = self._done[flow] = env.event()
        self._look_soon()
        try:
            yield done
        except Interrupt as cut:
            left = 0.0
            if self._done.pop(flow, None) is not None:
                left = carrier.cut(env.now, flow)
                self._look_soon()
            raise Cut(cut.cause, round(nbytes * (1.0 - left))) from None

    def uses(self) -> list[LinkUse]:
        """What has crossed each link by now.

        Raises:
            NetworkError: if verifying, where what went in is not what came out, was cut, or is
                under way; a fault of simfl's.
        """
        uses = self._carrier.uses(self._env.now)
        if self._verify:
            self._check_sums(uses)
        return uses

    def _check_sums(self, uses: list[LinkUse]) -> None:
        for use in uses:
            found = use.carried + use.cut + use.waiting
            if abs(use.asked - found) > _ROUNDING * max(use.asked, 1.0):
                raise NetworkError(
                    f"link '{use.name}' was handed {use.asked} and has {use.carried} carried, "
                    f"{use.cut} cut and {use.waiting} waiting: {found - use.asked:+} from nowhere"
                )

    def _look_soon(self) -> None:
        """Look once at all that starts and ends at this instant."""
        if self._due_s != self._env.now:
            self._due_s = self._env.now
            self._wake_in(0.0)

    def _wake_in(self, seconds: float) -> None:
        self._epoch += 1
        wake = self._env.timeout(seconds, self._epoch)
        assert wake.callbacks is not None
        wake.callbacks.append(self._wake)

    def _wake(self, wake: Event) -> None:
        """Tell who is there; a later change has made older wake-ups void."""
        if wake.value != self._epoch:
            return
        self._due_s = -inf
        now_s, carrier = self._env.now, self._carrier
        if now_s >= self._next_s:
            for flow in carrier.ended(now_s):
                self._done.pop(flow).succeed()
        self._next_s = next_s = carrier.next_s()
        if next_s < inf:
            self._wake_in(max(next_s - now_s, 0.0))
        if self._verify:
            self._check_loads()

    def _check_loads(self) -> None:
        for name, load, capacity in self._carrier.loads(self._env.now):
            if load > capacity * (1 + _ROUNDING):
                raise NetworkError(
                    f"link '{name}' carries {load} of {capacity} at {self._env.now} s"
                )
