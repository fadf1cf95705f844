from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simfl.networks.base import Ground, Wiring, wire
from simfl.registry import NETWORKS

NODES = {"server": "server", "home-0": "home", "home-1": "home", "bus": "bus"}


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Wiring]:
    """A network over a server, two homes and a bus, or over other nodes."""

    def made(kind: str, nodes: dict[str, str] = NODES, seed: int = 1, **options: Any) -> Wiring:
        plugin = NETWORKS.get(kind)
        checked = plugin.options.model_validate(options)
        checked.suits(nodes)
        ground = Ground(
            nodes=nodes,
            seed=seed,
            folder=tmp_path,
            access={"home": "cable"},
            radios_bps={"home": 36e6},
        )
        return wire(plugin.build, checked, ground)

    return made


@pytest.fixture
def hops() -> Callable[..., list[str]]:
    """Names of the links from one place to another."""

    def named(wiring: Wiring, source: str, target: str) -> list[str]:
        path = wiring.wires.path(source, target)
        assert path is not None
        return [wiring.wires.links[hop.link].name for hop in path.out]

    return named
