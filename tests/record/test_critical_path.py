from pathlib import Path

import pytest

import simfl
from simfl.record import Trace, TraceWriter
from simfl.record.critical_path import PARTS, critical_path, path_of, waiting
from simfl.work import Manifest, TensorInfo

NODES = [
    ("server", -1, "server", "g3s_xlarge", 0),
    ("a", 0, "client", "pi4", 30),
    ("b", 1, "client", "pi4", 30),
]
PEERS = [("a", 0, "peer", "pi4", 30), ("b", 1, "peer", "pi4", 30)]
COUNTS = Manifest(tensors=(TensorInfo(name="w", shape=(2, 3), dtype="float32", nonzero=5),))


def trace(path: Path, nodes: list, activities: list, transfers: list) -> Trace:  # type: ignore[type-arg]
    writer = TraceWriter(path, nodes, {"scenario": "stop: {accuracy: null}", "seed": 1})
    number = writer.manifest(COUNTS)
    for row in activities:
        writer.append("activities", (*row, "k", number, 0))
    for row in transfers:
        writer.append("transfers", (*row, "k", number, 24, 0))
    for round in range(1, 3):
        ends = [row[1] for row in activities if row[3:] in (("aggregate", round), ("mix", round))]
        if len(ends) == (len(PEERS) if nodes is PEERS else 1):
            writer.append("rounds", (round, max(ends), 2))
    writer.close("complete: rounds")
    return Trace(path)


def parts(found: Trace) -> list[dict[str, float]]:
    return [
        {part: row[f"{part}_s"] for part in PARTS if row[f"{part}_s"]}
        for row in critical_path(found).to_dict("records")
    ]


def test_a_round_is_what_the_last_update_needed(tmp_path: Path) -> None:
    run = trace(
        tmp_path / "run.h5",
        NODES,
        [
            (0, 1, "server", "initial", 0),
            (2, 4, "a", "train", 1),
            (3, 7, "b", "train", 1),
            (8, 10, "server", "aggregate", 1),
        ],
        [
            (1, 2, "server", "a", 1),
            (1, 3, "server", "b", 1),
            (4, 5, "a", "server", 1),
            (7, 8, "b", "server", 1),
        ],
    )
    assert parts(run) == [{"downlink": 2, "compute": 4, "uplink": 1, "server": 2}]
    path = path_of(run)
    assert list(path["node"]) == ["b", "b", "b", "server"]
    assert list(path["start_s"]) == [1, 3, 7, 8]
    # of 9 s, a was busy for 4 and b for 7
    assert waiting(run).to_dict() == {1: 3.5}


def test_what_nothing_led_to_is_a_wait(tmp_path: Path) -> None:
    # the server begins at a deadline, two seconds after the last update came
    run = trace(
        tmp_path / "run.h5",
        NODES,
        [(1, 3, "a", "train", 1), (6, 7, "server", "aggregate", 1)],
        [(0, 1, "server", "a", 1), (3, 4, "a", "server", 1)],
    )
    assert parts(run) == [{"downlink": 1, "compute": 2, "uplink": 1, "wait": 2, "server": 1}]


def test_messages_without_a_length_lead_to_their_sender_and_not_in_a_circle(tmp_path: Path) -> None:
    run = trace(
        tmp_path / "run.h5",
        PEERS,
        [
            (0, 2, "a", "train", 1),
            (0, 5, "b", "train", 1),
            (5, 6, "a", "mix", 1),
            (5, 5.5, "b", "mix", 1),
        ],
        [(2, 2, "a", "b", 1), (5, 5, "b", "a", 1), (5, 5, "a", "b", 1)],
    )
    assert parts(run) == [{"compute": 6}]
    assert list(path_of(run)["node"]) == ["b", "a"]


def test_a_round_that_not_every_peer_has_ended_is_none(tmp_path: Path) -> None:
    run = trace(tmp_path / "run.h5", PEERS, [(0, 2, "a", "train", 1), (2, 3, "a", "mix", 1)], [])
    assert critical_path(run).empty
    assert list(critical_path(run)) == ["round", "start_s", "length_s", *(f"{p}_s" for p in PARTS)]


@pytest.mark.parametrize("name", ["ring", "fedavg_access_links", "star_lte", "prunefl_federated"])
def test_the_parts_of_a_round_add_up_to_its_length(name: str, tmp_path: Path) -> None:
    small = ["learning.model={name: lenet_300_100}", "record.evaluate_every=2", "protocol.rounds=2"]
    if name == "ring":
        # its Pi 3 cannot hold the dense network
        small.append("platform.devices={pi4: {model: pi4, count: 3}}")
    scenario = simfl.load(f"smoke/{name}", small)
    run = simfl.run(scenario, out=tmp_path / "run.h5", store=False, executor="inline")
    found, path = critical_path(run), path_of(run)
    assert len(found) == 2
    sums = found[[f"{part}_s" for part in PARTS]].sum(axis=1)
    assert sums.tolist() == pytest.approx(found["length_s"].tolist(), rel=1e-12)
    # without a gap, from the end of the preparation to the last aggregation
    assert path["start_s"].tolist()[1:] == path["end_s"].tolist()[:-1]
    ends = run.activities[run.activities["verb"].isin(["aggregate", "mix"])]["end_s"]
    assert path["end_s"].iloc[-1] == ends.max()
    assert (path["end_s"] > path["start_s"]).all()
    assert (waiting(run) >= -1e-12).all()
