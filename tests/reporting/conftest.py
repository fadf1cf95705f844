from pathlib import Path

import pytest

import simfl
from simfl.record import Trace

STUDY = """\
learning.algorithm.level,platform.network.rate,seed,time_s,target_s,rounds,accuracy,down_bytes,up_bytes,joules,target_joules,status
0,1 Mbit/s,1,120,100,9,0.9,500,500,10,9,complete: 9 rounds
0,10 Mbit/s,1,30,20,9,0.9,500,500,5,4,complete: 9 rounds
0,100 Mbit/s,1,12,2,9,0.9,500,500,2,1,complete: 9 rounds
5,1 Mbit/s,1,20,10,9,0.8,50,50,3,2,complete: 9 rounds
5,10 Mbit/s,1,15,10,9,0.8,50,50,2,2,complete: 9 rounds
5,100 Mbit/s,1,14,10,9,0.8,50,50,2,1,complete: 9 rounds
9,1 Mbit/s,1,9,inf,9,0.5,10,10,1,inf,complete: 9 rounds
9,10 Mbit/s,1,8,inf,9,0.5,10,10,1,inf,complete: 9 rounds
9,100 Mbit/s,1,,,,,,,,,"failed: out of memory, <b>of course</b>"
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Federated pruning on four boards: two rounds."""
    path = tmp_path_factory.mktemp("report") / "pruned.h5"
    changes = ["protocol.rounds=2", "record.evaluate_every=1"]
    scenario = simfl.load("smoke/prunefl_federated", changes)
    return simfl.run(scenario, out=path, store=False, executor="inline")


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Three peers in a ring: two rounds."""
    path = tmp_path_factory.mktemp("report") / "ring.h5"
    changes = ["protocol.rounds=2", "platform.devices={pi4: {model: pi4, count: 3}}"]
    changes.append("learning.model={name: lenet_300_100}")
    return simfl.run(simfl.load("smoke/ring", changes), out=path, store=False, executor="inline")


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Three rounds of the same, timed in eight possible worlds."""
    path = tmp_path_factory.mktemp("report") / "worlds.h5"
    changes = ["record.evaluate_every=1", "repeats=8", "stop.accuracy=0.5"]
    scenario = simfl.load("smoke/prunefl_federated", changes)
    return simfl.run(scenario, out=path, store=False, executor="inline", workers=1)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of a sweep over levels and rates, with points that fail or never get there."""
    path = tmp_path_factory.mktemp("report") / "levels.csv"
    path.write_text(STUDY, encoding="utf-8")
    return path
