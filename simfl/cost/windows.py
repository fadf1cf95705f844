"""TCP flows in progress, window by window: a state machine that is handed the time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simfl.cost import window_kernel as kernel
from simfl.cost import window_tables as tables
from simfl.cost.carrier import LinkUse, uses_of
from simfl.cost.route import Route
from simfl.cost.transport import HEADER_BYTES, Transport
from simfl.cost.wires import Link, Path, capacity_of

# what waits in front of a link of which nothing is said: 100 ms of its rate, at least 64 KiB
# (assumed; the depth that operators' gear of 2010 to 2020 is most often configured to)
_QUEUE_S: Final = 0.1
_QUEUE_LEAST_BYTES: Final = 65_536
_CONTROLS: Final = {"cubic": tables.CUBIC, "reno": tables.RENO, "bbr": tables.BBR}


# tables by flow and hop, in the order in which the compiled part takes them: link, queue, usage
_HOPS: Final = (*(np.int64, np.int64, np.float64), *(np.int64, np.int64, np.float64), np.float64)
_OUT_LINK, _OUT_QUEUE, _OUT_USAGE, _BACK_LINK, _BACK_QUEUE, _BACK_USAGE = range(6)
# a path without latency and time on the wire would make endless rounds of no length
_RTT_LEAST_S: Final = 1e-6
# of a link that never limits
_ENDLESS_BPS: Final = 1e15


@dataclass(slots=True)
class _Ahead:
    """Where things stood at ``from_s``; the tables have been played on to ``clock_s``."""

    from_s: float
    due_s: float
    end_s: float
    clock_s: float
    flows: NDArray[Any]
    links: NDArray[Any]
    queues: NDArray[Any]


class WindowFlows:
    """Flows over links, each with a congestion window.

    Times are absolute seconds that never fall. Simultaneous starts are ordered by their keys, so
    the order of calls does not matter; losses are drawn from the seed and the flow's key alone.
    """

    def __init__(self, links: Sequence[Link], transport: Transport, *, seed: int) -> None:
        self._given = links
        self._transport = transport
        self._seed = np.uint64(seed % 2**64)
        self._segment_bits = 8.0 * transport.mss_bytes
        self._links = np.zeros(len(links), tables.LINK)
        self._queue_of: dict[tuple[int, int], int] = {}
        for index, link in enumerate(links):
            # a wire has one queue; a cell one of the access point (-1) and one of each station
            for station in range(-1, len(link.cell.station_bps) if link.cell else 0):
                self._queue_of[index, station] = len(self._queue_of)
            self._links[index]["fair"] = link.discipline == "fq_codel"
            self._links[index]["capacity"] = min(capacity_of(link, 0.0), _ENDLESS_BPS)
        self._queues = np.zeros(len(self._queue_of), tables.QUEUE)
        for (index, _), queue in self._queue_of.items():
            cell = links[index].cell
            self._queues[queue]["link"] = index
            self._queues[queue]["radio"] = cell is not None
            # what one acknowledged aggregate lets go arrives together, and is lost together
            self._queues[queue]["cluster"] = max(cell.aggregation / 2, 1.0) if cell else 1.0
            self._queues[queue]["limit_bits"] = self._queue_bits(links[index])
        self._flows = np.zeros(16, tables.FLOW)
        self._hops: list[NDArray[Any]] = [np.zeros((16, 4), kind) for kind in _HOPS]
        # in the order in which they started; at one instant by their keys
        self._active: list[tuple[float, int, int]] = []
        self._numbers: dict[int, int] = {}
        self._free = list(range(16))[::-1]
        self._slots: dict[int, int] = {}
        self._count = 0
        self._clock_s = 0.0
        # when the next event is, once that is known
        self._due_s = inf
        self._ahead: _Ahead | None = None
        self._in_use: tuple[NDArray[np.int64], ...] | None = None
        self._traced = np.array([i for i, link in enumerate(links) if link.trace], np.int64)
        # those of them that are in use, and when each one's rate changes next
        self._followed: list[int] = []
        self._changes: dict[int, float] = {}
        self._asked = np.zeros(len(links))
        self._cut = np.zeros(len(links))

    def __len__(self) -> int:
        """How many are in progress."""
        return len(self._slots)

    def start(self, now_s: float, path: Path, route: Route, nbytes: int, *, key: int) -> int:
        """Begin a flow and give its number; numbers rise.

        Args:
            now_s: simulated time.
            path: of one hop at least.
            route: of the same path.
            nbytes: of payload, positive.
            key: names the flow wherever and whenever it is simulated; its losses follow from it.
        """
        self._advance(now_s)
        slot = self._take_slot(max(len(path.out), len(path.back)))
        transport = self._transport
        self._flows[slot] = np.zeros((), tables.FLOW)
        flow = self._flows[slot]
        flow["key"], flow["state"] = key % 2**64, tables.WAITING
        flow["control"] = _CONTROLS[transport.congestion_control]
        flow["hops"], flow["back_hops"] = len(path.out), len(path.back)
        flow["bottleneck"] = -1
        flow["born_s"] = now_s
        setup_s = route.setup_s if transport.connection_setup == "cold" else 0.0
        flow["timer_s"] = now_s + setup_s
        flow["rtt_s"], flow["out_s"] = max(route.rtt_s, _RTT_LEAST_S), route.out_s
        flow["loss"], flow["burst"] = route.loss, route.burst
        flow["limit"] = max(transport.receive_window_bytes / transport.mss_bytes, 1.0)
        flow["left_bits"] = 8.0 * nbytes
        most = transport.initial_window if transport.slow_start else inf
        flow["window"] = min(most, flow["limit"])
        flow["threshold"] = inf
        flow["epoch_s"] = flow["queued_since_s"] = inf
        for hops, links, queues, usage, into in (
            (path.out, _OUT_LINK, _OUT_QUEUE, _OUT_USAGE, route.usage),
            (path.back, _BACK_LINK, _BACK_QUEUE, _BACK_USAGE, route.back_usage),
        ):
            for at, hop in enumerate(hops):
                # a station sends first of all hops; everybody else gets it from the access point
                queue = self._queue_of[hop.link, hop.station if at == 0 else -1]
                self._hops[links][slot, at], self._hops[queues][slot, at] = hop.link, queue
                self._hops[usage][slot, at] = into[at]
        for hop, share in zip(path.out, route.usage, strict=True):
            self._asked[hop.link] += share * 8.0 * nbytes
        self._count += 1
        self._slots[self._count] = slot
        self._numbers[slot] = self._count
        insort(self._active, (now_s, key % 2**64, slot))
        self._in_use, self._due_s = None, inf
        return self._count

    def cut(self, now_s: float, flow: int) -> float:
        """End a flow in progress; its share goes back. Gives the payload bits that were left."""
        self._advance(now_s)
        slot = self._slots[flow]
        left_bits = float(self._flows[slot]["left_bits"])
        for link, waiting in self._waiting(slot):
            self._cut[link] += waiting
        self._flows[slot]["state"] = tables.FREE
        # while its links are among those in use: nothing of it stays in their queues
        self._share()
        self._drop(flow)
        return left_bits

    def next_s(self) -> float:
        """When `ended` must be asked again, if nothing else happens; inf: never."""
        if self._ahead is None:
            self._look_ahead()
        assert self._ahead is not None
        return min(self._ahead.end_s, self._next_change_s())

    def ended(self, now_s: float) -> list[int]:
        """Flows whose last byte has arrived by now, in the order of their numbers; each once."""
        self._advance(now_s)
        active = self._arrays()[0]
        rows = self._flows[active]
        there = (rows["state"] == tables.ARRIVING) & (rows["arrives_s"] <= now_s)
        over = sorted(self._numbers[slot] for slot in active[there].tolist())
        for number in over:
            self._drop(number)
        return over

    def left_bits(self, now_s: float, flow: int) -> float:
        """Payload bits that a flow in progress has still to send."""
        self._advance(now_s)
        return float(self._flows[self._slots[flow]]["left_bits"])

    def loads(self, now_s: float) -> Iterator[tuple[str, float, float]]:
        """Of each link in use: its name, its load with acknowledgements, its capacity now."""
        self._advance(now_s)
        for link in self._arrays()[1]:
            row = self._links[link]
            yield self._given[link].name, float(row["load"]), float(row["capacity"])

    def uses(self, now_s: float) -> list[LinkUse]:
        """Of each link that was ever used and that limits."""
        self._advance(now_s)
        waiting = np.zeros(len(self._links))
        for _, _, slot in self._active:
            for link, left in self._waiting(slot):
                waiting[link] += left
        return uses_of(
            self._given,
            asked=self._asked.tolist(),
            carried=self._links["carried"].tolist(),
            cut=self._cut.tolist(),
            waiting=waiting.tolist(),
            used=self._links["used"].tolist(),
            now_s=now_s,
        )

    def _waiting(self, slot: int) -> Iterator[tuple[int, float]]:
        """What a flow has still to send, by link."""
        left_bits = float(self._flows[slot]["left_bits"])
        for at in range(self._flows[slot]["hops"]):
            share = float(self._hops[_OUT_USAGE][slot, at])
            yield int(self._hops[_OUT_LINK][slot, at]), share * left_bits

    def _advance(self, now_s: float) -> None:
        """Bring every flow up to now, and every rate that changes over time."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            if ahead.clock_s > now_s:
                self._restore(ahead)
            else:
                self._clock_s = ahead.clock_s
        while self._clock_s < now_s:
            change_s = self._next_change_s()
            until_s = min(now_s, change_s)
            if self._active:
                self._play(until_s, stop_at_end=False)
            self._clock_s = until_s
            if change_s <= now_s:
                self._change_capacities()

    def _look_ahead(self) -> None:
        """Play on until a flow ends, keeping what there was: something may come before."""
        active, links, queues = self._arrays()
        self._ahead = _Ahead(
            self._clock_s, self._due_s, inf, self._clock_s,
            self._flows[active], self._links[links], self._queues[queues],
        )  # fmt: skip
        if self._active:
            self._ahead.clock_s, self._ahead.end_s = self._play(
                self._next_change_s(), stop_at_end=True
            )

    def _restore(self, ahead: _Ahead) -> None:
        active, links, queues = self._arrays()
        self._flows[active], self._links[links] = ahead.flows, ahead.links
        self._queues[queues] = ahead.queues
        self._clock_s, self._due_s = ahead.from_s, ahead.due_s

    def _play(self, until_s: float, *, stop_at_end: bool) -> tuple[float, float]:
        transport = self._transport
        clock_s, end_s, due_s = kernel.advance(
            self._tables(), self._clock_s, until_s, stop_at_end, self._seed, transport.loss,
            self._segment_bits, self._due_s,
        )  # fmt: skip
        self._due_s = float(due_s)
        return float(clock_s), float(end_s)

    def _arrays(self) -> tuple[NDArray[np.int64], ...]:
        """Slots of the flows in progress, and the links and queues on their paths."""
        if self._in_use is None:
            active = np.array([slot for _, _, slot in self._active], np.int64)
            crossed: list[NDArray[Any]] = []
            for links, queues, count in (
                (_OUT_LINK, _OUT_QUEUE, "hops"),
                (_BACK_LINK, _BACK_QUEUE, "back_hops"),
            ):
                hops = np.arange(self._hops[links].shape[1])
                there = hops < self._flows[count][active][:, np.newaxis]
                crossed += [self._hops[links][active][there], self._hops[queues][active][there]]
            self._in_use = (
                active,
                np.unique(np.concatenate(crossed[::2])),
                np.unique(np.concatenate(crossed[1::2])),
            )
            self._followed = np.intersect1d(self._traced, self._in_use[1]).tolist()
            for link in self._followed:
                self._follow(link)
        return self._in_use

    def _next_change_s(self) -> float:
        if not len(self._traced):
            return inf
        self._arrays()
        return min((self._changes[link] for link in self._followed), default=inf)

    def _change_capacities(self) -> None:
        """Let the rates of links in use change that are due to."""
        for link in self._followed:
            if self._changes[link] <= self._clock_s:
                self._follow(link)
        self._share()

    def _follow(self, link: int) -> None:
        """The rate that a trace gives now, and when it gives another."""
        trace = self._given[link].trace
        assert trace is not None
        self._links[link]["capacity"] = trace.rate_at(self._clock_s)
        self._changes[link] = trace.next_change_s(self._clock_s)

    def _share(self) -> None:
        self._due_s = inf
        if self._active:
            kernel.share(self._tables(), self._segment_bits)

    def _tables(self) -> tables.Tables:
        active, links, queues = self._arrays()
        return tables.Tables(
            active, self._flows, self._links, self._queues, links, queues, *self._hops
        )

    def _drop(self, number: int) -> None:
        slot = self._slots.pop(number)
        self._flows[slot]["state"] = tables.FREE
        row = self._flows[slot]
        del self._active[bisect_left(self._active, (float(row["born_s"]), int(row["key"]), slot))]
        del self._numbers[slot]
        self._free.append(slot)
        self._in_use = None

    def _take_slot(self, hops: int) -> int:
        if not self._free:
            size = len(self._flows)
            self._flows = np.concatenate([self._flows, np.zeros(size, tables.FLOW)])
            self._hops = [np.concatenate([table, np.zeros_like(table)]) for table in self._hops]
            self._free = list(range(size, 2 * size))[::-1]
        while hops > self._hops[0].shape[1]:
            self._hops = [np.concatenate([t, np.zeros_like(t)], axis=1) for t in self._hops]
        return self._free.pop()

    def _queue_bits(self, link: Link) -> float:
        """Payload that may wait in front of a link."""
        packet_bytes = self._transport.mss_bytes + HEADER_BYTES + link.overhead_bytes
        queue_bytes = link.queue_bytes
        if queue_bytes == inf:
            rates = link.trace.rates_bps if link.trace else [link.rate_bps]
            rate_bps = max(link.cell.station_bps if link.cell else rates)
            queue_bytes = max(_QUEUE_S * rate_bps / 8, _QUEUE_LEAST_BYTES)
        return 8.0 * queue_bytes * self._transport.mss_bytes / packet_bytes
