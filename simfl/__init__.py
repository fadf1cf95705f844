"""simfl: how many seconds, bytes and joules will this federated training need?

    >>> import simfl
    >>> scenario = simfl.load("pi_lenet", ["seed=2"])
    >>> scenario.seed
    2

Everything here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simfl.api import device, load, optimize, plan, report, resume, run, sweep, whatif
    from simfl.errors import SimflError
    from simfl.inference import inference_time
    from simfl.models.count import workload
    from simfl.record import Trace
    from simfl.registry import (
        ALGORITHMS,
        CODECS,
        DATASETS,
        MODELS,
        NETWORKS,
        OBJECTIVES,
        PARTITIONS,
        PROTOCOLS,
        TOPOLOGIES,
    )
    from simfl.scenario import Scenario

__all__ = [
    "ALGORITHMS",
    "CODECS",
    "DATASETS",
    "MODELS",
    "NETWORKS",
    "OBJECTIVES",
    "PARTITIONS",
    "PROTOCOLS",
    "TOPOLOGIES",
    "Scenario",
    "SimflError",
    "Trace",
    "device",
    "inference_time",
    "load",
    "optimize",
    "plan",
    "report",
    "resume",
    "run",
    "sweep",
    "whatif",
    "workload",
]

_HOMES = {
    "device": "simfl.api",
    "inference_time": "simfl.inference",
    "load": "simfl.api",
    "optimize": "simfl.api",
    "plan": "simfl.api",
    "report": "simfl.api",
    "resume": "simfl.api",
    "run": "simfl.api",
    "sweep": "simfl.api",
    "whatif": "simfl.api",
    "workload": "simfl.models.count",
    "Trace": "simfl.record",
    "Scenario": "simfl.scenario",
    "SimflError": "simfl.errors",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'simfl' has no attribute '{name}'")
    return getattr(import_module(_HOMES.get(name, "simfl.registry")), name)


def __dir__() -> list[str]:
    return __all__
