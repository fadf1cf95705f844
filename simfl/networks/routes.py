"""Routes over a graph of links: shortest by latency, then by hops, then by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from simfl.cost.wires import Hop, Link, Path, Wires
from simfl.keys import seed_of

# a length is one exact float, latency in whole nanoseconds before the number of hops: below 2^53
# for paths of up to 2,200 s and 4,095 hops
_HOPS: Final = 4096.0
_KEPT: Final = 1 << 16


def islands(graph: nx.DiGraph[str], places: Iterable[str]) -> list[list[str]]:
    """The parts of a graph between which there is no way there and back; none where it is whole.

    Args:
        graph: the wires.
        places: named before what lies between them; each is in the graph.

    >>> graph = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "c")])
    >>> islands(graph, ["a", "b", "c"])
    [['a', 'b'], ['c']]
    """
    if nx.is_strongly_connected(graph):
        return []
    first = {place: number for number, place in enumerate(places)}

    def order(node: str) -> tuple[int, str]:
        return first.get(node, len(first)), node

    parts = [sorted(part, key=order) for part in nx.strongly_connected_components(graph)]
    return sorted(parts, key=lambda part: order(part[0]))


class GraphWires:
    """The wires of a graph whose edges carry links.

    What hangs on the rest by one neighbour is taken off, again and again, until a core is left in
    which there is something to search; trees have none. From a place one climbs from neighbour to
    neighbour to the core, or to where the climb from the other place is met. So a star or cells
    cost nothing but their hops.

    Args:
        graph: see `simfl.networks.base.NetworkKind`.
        multipath_seed: of several shortest ways each pair of places takes one by its hash, as
            routers do with flows (ECMP, RFC 2992); None: all take the first by name.
    """

    def __init__(self, graph: nx.DiGraph[str], *, multipath_seed: int | None = None) -> None:
        self._seed = multipath_seed
        self._links: list[Link] = []
        self._hops: dict[tuple[str, str], Hop] = {}
        numbers: dict[int, int] = {}
        for source, target, data in graph.edges(data=True):
            link = data["link"]
            number = numbers.setdefault(id(link), len(numbers))
            if number == len(self._links):
                self._links.append(link)
            self._hops[source, target] = Hop(number, data.get("station", -1))
        self._hub = _hubs(graph)
        core = [place for place in graph if place not in self._hub]
        self._number = {place: number for number, place in enumerate(core)}
        self._next = {
            place: sorted(n for n in graph.successors(place) if n in self._number) for place in core
        }
        self._lengths: dict[str, NDArray[np.float64]] = {}
        self._toward: Any = None
        self.path = lru_cache(maxsize=_KEPT)(self._path)

    @property
    def links(self) -> Sequence[Link]:
        """Every one-way link and cell."""
        return self._links

    def _path(self, source: str, target: str) -> Path | None:
        """None where there is no way, there or back, and from a place to itself."""
        out, back = self._way(source, target), self._way(target, source)
        if source == target or out is None or back is None:
            return None
        return Path(out, back)

    def _way(self, source: str, target: str) -> tuple[Hop, ...] | None:
        up, down = self._climb(source), self._climb(target)
        if up[-1] not in self._number or down[-1] not in self._number:
            return None
        # what both climbs share is left out, but for the place where they meet
        while len(up) > 1 and len(down) > 1 and up[-2] == down[-2]:
            up.pop()
            down.pop()
        between = self._between(up[-1], down[-1], source, target)
        if between is None:
            return None
        return (
            *(self._hops[ends] for ends in pairwise(up)),
            *between,
            *(self._hops[ends] for ends in pairwise(reversed(down))),
        )

    def _climb(self, place: str) -> list[str]:
        """From a place to the core."""
        places = [place]
        while places[-1] in self._hub:
            places.append(self._hub[places[-1]])
        return places

    def _between(self, start: str, end: str, source: str, target: str) -> tuple[Hop, ...] | None:
        """The hops from hub to hub; the pair's names choose among equals."""
        hops = []
        while start != end:
            length = self._length_to(end)
            left = length[self._number[start]]
            if left == np.inf:
                return None
            ways = [
                place
                for place in self._next[start]
                if left == self._weight(start, place) + length[self._number[place]]
            ]
            choice = 0
            if self._seed is not None and len(ways) > 1:
                choice = seed_of(self._seed, "multipath", source, target, start) % len(ways)
            hops.append(self._hops[start, ways[choice]])
            start = ways[choice]
        return tuple(hops)

    def _weight(self, source: str, target: str) -> float:
        latency_s = self._links[self._hops[source, target].link].latency_s
        return round(latency_s * 1e9) * _HOPS + 1.0

    def _length_to(self, target: str) -> NDArray[np.float64]:
        """The length of the shortest way from each place of the core: Dijkstra, once a target."""
        if target not in self._lengths:
            # only now: a star does without, and starts the sooner
            from scipy.sparse import csr_array
            from scipy.sparse.csgraph import dijkstra

            if self._toward is None:
                edges = [(a, b) for a, following in self._next.items() for b in following]
                weights = [self._weight(a, b) for a, b in edges]
                rows = [self._number[b] for _, b in edges]
                columns = [self._number[a] for a, _ in edges]
                size = len(self._number)
                self._toward = csr_array((weights, (rows, columns)), shape=(size, size))
            self._lengths[target] = dijkstra(self._toward, indices=self._number[target])
        return self._lengths[target]


def _hubs(graph: nx.DiGraph[str]) -> dict[str, str]:
    """Of each place off the core the neighbour that is nearer to it."""
    left = {place: set(graph.successors(place)) | set(graph.predecessors(place)) for place in graph}
    hubs: dict[str, str] = {}
    ends = [place for place in graph if len(left[place]) == 1]
    while ends:
        place = ends.pop()
        if len(left[place]) != 1:
            continue
        [hub] = left[place]
        if graph.has_edge(place, hub) and graph.has_edge(hub, place):
            hubs[place] = hub
            left[place].clear()
            left[hub].discard(place)
            if len(left[hub]) == 1:
                ends.append(hub)
    return hubs


def _is_wires(graph: GraphWires) -> Wires:
    return graph
