"""What a topology is: who talks to whom. Not who is wired to whom: that is the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import networkx as nx


class Topology(Protocol):
    """Builds an overlay over node names; pure and seeded."""

    def __call__(self, options: Any, nodes: Sequence[str], *, seed: int) -> nx.Graph[str]:
        """The overlay.

        Args:
            options: the scenario's options.
            nodes: names; the server first, where there is one.
            seed: the scenario's seed.

        Raises:
            OptionError: no such overlay over these nodes.
        """
