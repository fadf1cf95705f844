"""Cells: Wi-Fi access points with stations of their own rates, wired to a backbone.

Stations of a cell share its air, sending and being sent to, whatever they talk to; what one sends
another of the same cell crosses it twice. The server hangs on the backbone by a wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import networkx as nx
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from simfl.cost.wires import SERVER
from simfl.errors import OptionError
from simfl.networks.base import (
    CORE,
    Ground,
    NetworkKind,
    NetworkOptions,
    join,
    known,
    no_server_keys,
)
from simfl.networks.choice import Access, LinkChoice
from simfl.options import Positive, Rate
from simfl.registry import NETWORKS


class CellsOptions(NetworkOptions):
    """How many cells, who is in which, and what joins them.

    Attributes:
        cells: how many; nodes are dealt out to them in turn.
        members: instead, by cell: the device groups or nodes in it.
        wifi: a radio's preset or figures; its ``phy`` is the rate of a station of which nothing
            else is said.
        rates: PHY rate by device group or node, above that.
        backbone: from each access point to the core.
        server: the server's wire to the core; left out, as the backbone's.
    """

    cells: Positive | None = None
    members: Annotated[dict[str, list[str]], Field(min_length=1)] | None = None
    wifi: LinkChoice
    rates: dict[str, Rate] = Field(default_factory=dict)
    backbone: LinkChoice
    server: LinkChoice | None = None

    @model_validator(mode="after")
    def _one_deal(self) -> CellsOptions:
        if (self.cells is None) == (self.members is None):
            raise PydanticCustomError("deal", "give either cells or members, and not both")
        return self

    def suits(self, nodes: Mapping[str, str]) -> None:
        """Each station is in one cell, and only who is there has a rate."""
        known(self.rates, nodes, "rates")
        no_server_keys(self, ["server"], nodes)
        self.dealt(nodes)

    def dealt(self, nodes: Mapping[str, str]) -> dict[str, list[str]]:
        """The nodes of each cell.

        Raises:
            OptionError: a node in none or in two.
        """
        stations = {node: group for node, group in nodes.items() if node != SERVER}
        if self.members is None:
            assert self.cells is not None
            found: dict[str, list[str]] = {f"{i}": [] for i in range(self.cells)}
            for number, node in enumerate(stations):
                found[f"{number % self.cells}"].append(node)
            return found
        of: dict[str, str] = {}
        for cell, names in self.members.items():
            known(names, nodes, f"members.{cell}")
            for node, group in stations.items():
                if node in names or group in names:
                    if node in of:
                        message = f"'{node}' is in cell '{of[node]}' already; name it once"
                        raise OptionError(f"members.{cell}", message)
                    of[node] = cell
        left = [node for node in stations if node not in of]
        if left:
            raise OptionError("members", f"'{left[0]}' is in no cell; name it or its group in one")
        return {cell: [n for n in stations if of[n] == cell] for cell in self.members}


@NETWORKS.register("cells", options=CellsOptions)
def cells(options: CellsOptions, ground: Ground) -> nx.DiGraph[str]:
    """Stations, access points, the core and the server.

    Raises:
        OptionError: a station without a rate, or a link that cannot be made.
    """
    wifi = Access(options.wifi, ground.folder, "wifi")
    backbone = Access(options.backbone, ground.folder, "backbone")
    if not wifi.is_air:
        raise OptionError("wifi", "this link is no radio; give phy, or a preset that has it")
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, stations in options.dealt(ground.nodes).items():
        if not stations:
            continue
        point = f"(cell {name})"
        rates = [
            wifi.station_bps(node, options.rates.get(node, options.rates.get(ground.nodes[node])))
            for node in stations
        ]
        air = wifi.cell(f"cell {name}", rates)
        for station, node in enumerate(stations):
            graph.add_edge(node, point, link=air, station=station)
            graph.add_edge(point, node, link=air, station=station)
        join(graph, point, CORE, *backbone.wire(f"backbone {name}", ground.seed))
    if ground.has_server:
        server = Access(options.server or options.backbone, ground.folder, "server")
        join(graph, SERVER, CORE, *server.wire(SERVER, ground.seed))
    return graph


_: NetworkKind = cells
