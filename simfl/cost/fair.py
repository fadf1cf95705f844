"""Which engine shares fairly: bundles while these are few, else the compiled solver.

Bundles are the better the more flows run alike: a star, a cell, cells behind a backbone. Where
nearly every flow has shared links of its own, as on a graph, each change is worked out flow by flow
in compiled code, over the part of the graph that it touches. Which of them runs depends on the
flows alone, never on the machine, and both give the same figures.
"""

from __future__ import annotations

from typing import Final

from simfl.cost.bundles import Bundles
from simfl.cost.flows import Flows

# More bundles than this go to the compiled solver. Here an event takes both of them some 0.5 ms;
# below, importing numba (about 1 s) would cost more than it saves: 11 peers that all talk to each
# other stay without. Measured with analysis/benchmarks/network_scale.py.
MANY_BUNDLES: Final = 128


def fitting(flows: Flows) -> Flows:
    """The engine to go on with: the same, or one that has taken its flows over, for good."""
    if isinstance(flows, Bundles) and flows.gather() > MANY_BUNDLES:
        # only now, since numba is slow to import
        from simfl.cost.compiled import CompiledFlows

        return CompiledFlows(flows.hand_over())
    return flows
