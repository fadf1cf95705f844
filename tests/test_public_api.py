import subprocess
import sys

import pytest

import simfl

PUBLIC = [
    *("ALGORITHMS", "CODECS", "DATASETS", "MODELS", "NETWORKS", "OBJECTIVES", "PARTITIONS"),
    *("PROTOCOLS", "TOPOLOGIES"),
    *("Scenario", "SimflError", "Trace"),
    *("device", "inference_time", "load", "optimize", "plan", "report", "resume", "run"),
    *("sweep", "whatif"),
    "workload",
]


def test_what_is_exported() -> None:
    assert simfl.__all__ == PUBLIC
    assert dir(simfl) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_resolves(name: str) -> None:
    found = getattr(simfl, name)
    assert found.__class__.__name__ == "Registry" if name.isupper() else callable(found)


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sweeep'"):
        _ = simfl.sweeep


def test_starting_up_imports_nothing_heavy() -> None:
    code = (
        "import sys, simfl, simfl.cli; "
        "print(*{'torch', 'pandas', 'h5py', 'sklearn', 'scipy', 'simpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
