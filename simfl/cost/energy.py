"""Joules: what a device draws, times the seconds it does what draws it.

A node is idle or computes, and on top of either its radio sends and receives; while it is away,
nothing that it draws is counted. Messages that overlap in one direction count once: a radio does
not draw twice as much for two. Nothing here has a clock; it is handed the time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import nan
from typing import Final, NamedTuple, Protocol

KINDS: Final = ("idle", "compute", "transmit", "receive")


class Draws(Protocol):
    """A device's watts, as figures; `simfl.cost.device.Draw` is one."""

    def watts(self, kind: str) -> float:
        """While it does that; nan where it is not known."""


class Spent(NamedTuple):
    """What a node did of one kind by some time: of ``KINDS``, and nan joules where unknown."""

    node: str
    kind: str
    seconds: float
    joules: float


class Ledger:
    """Joules of several nodes together, whose watts change now and then."""

    __slots__ = ("_joules", "_since_s", "_watts")

    def __init__(self, watts: float = 0.0) -> None:
        self._watts, self._joules, self._since_s = watts, 0.0, 0.0

    def change(self, watts: float, now_s: float) -> None:
        """From now on they draw so much more, or less."""
        self._joules += self._watts * (now_s - self._since_s)
        self._since_s = now_s
        self._watts += watts

    def joules(self, now_s: float) -> float:
        """By now."""
        return self._joules + self._watts * (now_s - self._since_s)


class Spell:
    """One sort of doing of a node: how long, overlapping times counted once.

    Args:
        ledger: is told when it begins and ends.
        watts: that it adds meanwhile; 0 where not known.
    """

    __slots__ = ("_ledger", "_running", "_seconds", "_since_s", "_watts")

    def __init__(self, ledger: Ledger, watts: float) -> None:
        self._ledger, self._watts = ledger, watts
        self._running, self._seconds, self._since_s = 0, 0.0, 0.0

    def begin(self, now_s: float) -> None:
        """One more begins."""
        if not self._running:
            self._since_s = now_s
            if self._watts:
                self._ledger.change(self._watts, now_s)
        self._running += 1

    def end(self, now_s: float) -> None:
        """One has ended, or was cut."""
        self._running -= 1
        if not self._running:
            self._seconds += now_s - self._since_s
            if self._watts:
                self._ledger.change(-self._watts, now_s)

    def seconds(self, now_s: float) -> float:
        """By now, that under way included."""
        return self._seconds + (now_s - self._since_s if self._running else 0.0)


class Meter:
    """What one node does.

    Args:
        draws: of its device; None where nothing is known.
        ledger: of the nodes that are summed up; None for one that is not.
    """

    __slots__ = ("away", "compute", "receive", "transmit", "watts")

    def __init__(self, draws: Draws | None = None, ledger: Ledger | None = None) -> None:
        self.watts = {kind: draws.watts(kind) if draws else nan for kind in KINDS}
        shown = ledger or Ledger()
        more = self.watts["compute"] - self.watts["idle"]
        self.compute = Spell(shown, _or_0(more))
        self.transmit = Spell(shown, _or_0(self.watts["transmit"]))
        self.receive = Spell(shown, _or_0(self.watts["receive"]))
        self.away = Spell(shown, -_or_0(self.watts["idle"]))

    @property
    def most_watts(self) -> float:
        """While it computes, sends and receives; of a radio, what is known."""
        watts = self.watts
        most = max(watts["idle"], watts["compute"])
        return most + _or_0(watts["transmit"]) + _or_0(watts["receive"])

    def joules(self, now_s: float) -> float:
        """By now, of all kinds; of a radio, what is known."""
        return sum(_or_0(row.joules) for row in self.spent("", now_s))

    def spent(self, node: str, now_s: float) -> list[Spent]:
        """By now, of each kind: idle, computing and away add up to now, the radio is on top."""
        computing = self.compute.seconds(now_s)
        seconds = {
            "idle": now_s - computing - self.away.seconds(now_s),
            "compute": computing,
            "transmit": self.transmit.seconds(now_s),
            "receive": self.receive.seconds(now_s),
        }
        return [
            Spent(node, kind, lasted, lasted * self.watts[kind]) for kind, lasted in seconds.items()
        ]


class Meters:
    """One for each node, and what they draw together.

    Args:
        draws: by node.
        apart: nodes that are not summed up.
    """

    def __init__(self, draws: Mapping[str, Draws | None], apart: Collection[str] = ()) -> None:
        counted = [found for node, found in draws.items() if node not in apart]
        # one device without figures, and the sum is not known
        base = sum(found.watts("idle") if found else nan for found in counted)
        self._ledger = Ledger(base)
        self._by_node = {
            node: Meter(found, None if node in apart else self._ledger)
            for node, found in draws.items()
        }

    def __getitem__(self, node: str) -> Meter:
        return self._by_node[node]

    def joules(self, now_s: float) -> float:
        """Of all that are summed up, by now; nan if a device has no figures.

        A radio without figures adds nothing: the sum is then what is known.
        """
        return self._ledger.joules(now_s)

    def spent(self, now_s: float) -> list[Spent]:
        """Of every node and kind, by now."""
        return [row for node, meter in self._by_node.items() for row in meter.spent(node, now_s)]


def _or_0(watts: float) -> float:
    return 0.0 if watts != watts else watts
