"""What a trace says, in a few numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import yaml

from simfl.record.reader import Trace
from simfl.record.repeats import Spread, spreads
from simfl.record.schema import NONE
from simfl.units import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run in numbers.

    Attributes:
        peers: how many, where there is no server; else 0.
        rounds: those that are over: of the server, or of every peer that was there.
        time_s: simulated, to the end of the last activity.
        preparation_s: simulated, before the first round (server pruning).
        accuracy: of the last evaluation, of peers the mean; nan if there was none.
        best_accuracy: of all evaluations.
        target: the scenario's accuracy to reach, if any, held ``consecutive`` evaluations.
        target_s: simulated time at which that was so; inf if never, nan without target.
        target_round: the round of it.
        round_s: mean simulated length of a round.
        round_compute_s: mean, of the slowest client's or peer's computing in it; nan where turns go
            on over the ends of rounds.
        down_bytes: sent by the server, and by aggregators to clients; what was cut as far as it had
            left.
        up_bytes: sent to it, or by the peers; likewise.
        last_down_bytes: the last message from the server.
        last_up_bytes: the last message to it, or of a peer.
        joules: of the clients or peers, to the end; nan where a device lacks watts, idle or busy.
        radio_missing: whether what some of their radios drew is not in it, since it is not known.
        target_joules: of them, until ``target_s``; inf if never, nan without target.
        server_joules: of the server; nan without watts, or without a server.
        cut_turns: trainings that were given up: their node left, or a deadline came.
        lost_messages: that never arrived.
        away_s: of all clients or peers together.
        size: parameters of the model, its buffers included.
        nonzero: of them, stored at the last evaluation.
        repeats: of time, time to the target and energy, over possible worlds; none without repeats.
    """

    peers: int
    rounds: int
    time_s: float
    preparation_s: float
    accuracy: float
    best_accuracy: float
    target: float | None
    consecutive: int
    target_s: float
    target_round: int | None
    round_s: float
    round_compute_s: float
    down_bytes: int
    up_bytes: int
    last_down_bytes: int
    last_up_bytes: int
    joules: float
    radio_missing: bool
    target_joules: float
    server_joules: float
    cut_turns: int
    lost_messages: int
    away_s: float
    size: int
    nonzero: int
    repeats: Mapping[str, Spread]


def summarise(trace: Trace) -> Summary:
    """Read the numbers off the tables."""
    stop = yaml.safe_load(trace.scenario)["stop"]
    target, consecutive = stop["accuracy"], stop["consecutive"]
    activities, transfers, curve = trace.activities, trace.transfers, trace.curve
    peers = len(trace.peers)
    ends_s = trace.rounds["end_s"][trace.rounds["round"] > 0]
    rounds, first_s = len(ends_s), _preparation_s(activities)
    time_s = max([0.0, *activities["end_s"].tail(1), *transfers["end_s"].tail(1)])
    compute = slowest_compute(activities, trace.rounds)
    whole, above = transfers["cut"] == 0, trace.nodes["node"][trace.nodes["index"] < 0]
    down = transfers["source"].isin(above) & (transfers["target"] != "server")
    accuracy = curve["accuracy"]
    spent = joules_by_node(trace)
    served = trace.nodes["role"] == "server"
    others = trace.nodes["node"][trace.nodes["index"] >= 0]
    return Summary(
        peers=peers,
        rounds=rounds,
        time_s=time_s,
        preparation_s=first_s,
        accuracy=float(accuracy.iloc[-1]) if len(accuracy) else float("nan"),
        best_accuracy=float(accuracy.max()) if len(accuracy) else float("nan"),
        target=target,
        consecutive=consecutive,
        target_s=trace.time_to_accuracy(target, consecutive) if target else float("nan"),
        target_round=trace.rounds_to_accuracy(target, consecutive) if target else None,
        round_s=(float(ends_s.iloc[-1]) - first_s) / rounds if rounds else float("nan"),
        round_compute_s=float(compute.mean()) if len(compute) else float("nan"),
        down_bytes=int(transfers["nbytes"][down].sum()),
        up_bytes=int(transfers["nbytes"][~down].sum()),
        last_down_bytes=_last(transfers["nbytes"][whole & down]),
        last_up_bytes=_last(transfers["nbytes"][whole & ~down]),
        joules=float(spent["joules"].reindex(others).sum(skipna=False)),
        radio_missing=bool(spent["radio_missing"].reindex(others, fill_value=False).any()),
        target_joules=trace.joules_to_accuracy(target, consecutive) if target else float("nan"),
        server_joules=float(spent["joules"].reindex(trace.nodes["node"][served]).sum(min_count=1)),
        cut_turns=int(activities["cut"][activities["verb"] == "train"].sum()),
        lost_messages=int(transfers["cut"].sum()),
        away_s=float((trace.away["end_s"] - trace.away["start_s"]).sum()),
        size=_size(trace),
        nonzero=_last(curve["nonzero"]),
        repeats=spreads(trace),
    )


def _size(trace: Trace) -> int:
    """Parameters of the model: a message may hold more."""
    made = trace.activities["manifest"]
    first = made[made != NONE].head(1)
    manifests = trace.manifests
    return int(manifests["size"][manifests["manifest"].isin(first)].sum())


def slowest_compute(activities: pd.DataFrame, rounds: pd.DataFrame) -> pd.Series[float]:
    """Per round, the seconds that its slowest client or peer trained; empty, see there."""
    training = activities[activities["verb"] == "train"]
    ends_s = training["round"].map(rounds.set_index("round")["end_s"])
    if (training["end_s"] > ends_s).any():
        return pd.Series(dtype=float)
    seconds = training["end_s"] - training["start_s"]
    return seconds.groupby(training["round"]).max()


def joules_by_node(trace: Trace) -> pd.DataFrame:
    """By node, at the end of the run.

    Columns: ``joules`` (nan where its device has no watts), and ``radio_missing``: whether it sent
    or received, and what that drew is not known and not in the sum.
    """
    energy = trace.energy
    radio = energy["kind"].isin(["transmit", "receive"])
    known = energy["joules"].where(~radio, energy["joules"].fillna(0.0))
    missing = radio & energy["joules"].isna() & (energy["seconds"] > 0)
    table = pd.DataFrame({"node": energy["node"], "joules": known, "radio_missing": missing})
    nodes = table.groupby("node", sort=False)
    return pd.DataFrame(
        {"joules": nodes["joules"].sum(skipna=False), "radio_missing": nodes["radio_missing"].any()}
    )


def by_device(trace: Trace) -> pd.DataFrame:
    """Per device model: nodes, mean seconds computing per node, bytes sent and received, joules.

    ``joules`` are the mean of a node; ``battery`` is the share of a full battery that this is, nan
    for a device without one. Members of a population count as one model.
    """
    nodes = trace.nodes.set_index("node")
    activities, transfers = trace.activities, trace.transfers
    busy = (activities["end_s"] - activities["start_s"]).groupby(activities["node"]).sum()
    per_node = pd.DataFrame(
        {
            "role": nodes["role"],
            "device": nodes["device"].str.partition("/")[0],
            "nodes": 1,
            "busy_s": busy.reindex(nodes.index, fill_value=0.0),
            "sent_bytes": _bytes_by(transfers, "source", nodes.index),
            "received_bytes": _bytes_by(transfers, "target", nodes.index),
            "joules": joules_by_node(trace)["joules"].reindex(nodes.index),
        }
    )
    groups = per_node.groupby(["role", "device"], sort=False)
    table = groups.sum(skipna=False).reset_index()
    table["busy_s"] /= table["nodes"]
    table["joules"] /= table["nodes"]
    table["battery"] = table["joules"] / table["device"].map(_batteries(trace)).astype(float)
    return table


def _batteries(trace: Trace) -> dict[str, float]:
    """Joules of a full battery, by device model; nan for those without."""
    devices = json.loads(trace.attributes.get("devices", "{}")).values()
    batteries = {d["name"]: d.get("battery") for d in devices}
    return {
        name: parse(battery["value"], "energy") if battery else float("nan")
        for name, battery in batteries.items()
    }


def _bytes_by(transfers: pd.DataFrame, side: str, nodes: pd.Index[str]) -> pd.Series[int]:
    return transfers["nbytes"].groupby(transfers[side]).sum().reindex(nodes, fill_value=0)


def _preparation_s(activities: pd.DataFrame) -> float:
    first = activities[activities["verb"] == "initial"]["end_s"]
    return float(first.max()) if len(first) else 0.0


def _last(column: pd.Series[float]) -> int:
    return round(column.iloc[-1]) if len(column) else 0
