"""Throttling: a board that has computed for long goes on more slowly, until it has rested.

The board is a store of busy seconds. Computing fills it, second by second; idling empties it at the
same rate; while it is full, the board computes at a part of its speed. So a rest of s seconds buys
s seconds at full speed, and never more than the store holds.

Assumed: no measured temperature model was found for any board here. Real boards warm up and cool
down exponentially, and slow down in more steps than one.
"""

from __future__ import annotations


class Heat:
    """One board's store of busy seconds, handed the time.

    Args:
        speed: what remains of the board's when the store is full.
        holds_s: busy seconds until it is full; 0: it always is.
    """

    def __init__(self, speed: float, holds_s: float) -> None:
        self._speed, self._holds_s = speed, holds_s
        self._filled_s = self._at_s = 0.0

    def seconds(self, full_speed_s: float, now_s: float) -> float:
        """How long what takes ``full_speed_s`` on a cold board takes, begun now."""
        room_s = self._holds_s - self._after_rest(now_s)
        return min(full_speed_s, room_s) + max(0.0, full_speed_s - room_s) / self._speed

    def computed(self, start_s: float, end_s: float) -> None:
        """The board computed in that time, and was idle since it last did."""
        self._filled_s = min(self._holds_s, self._after_rest(start_s) + end_s - start_s)
        self._at_s = end_s

    def _after_rest(self, now_s: float) -> float:
        return max(0.0, self._filled_s - (now_s - self._at_s))
