"""Rounds: their critical path split into parts, and who did what in the first of them."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from simfl.record import Trace
from simfl.record.critical_path import critical_path, path_of, waiting
from simfl.reporting.blocks import Column, Table, count, seconds, share
from simfl.reporting.palette import INK, PARTS
from simfl.reporting.style import figure, hatched, short

_BARS: Final = 100
_NODES: Final = 14
_DOINGS: Final = 1_200
_ROUNDS: Final = 3
_SERVER: Final = "server"


def critical_path_figure(rounds: pd.DataFrame, *, peers: bool) -> go.Figure:
    """A bar for each round, or for the mean of some in a row.

    Args:
        rounds: of `critical_path`.
        peers: whether messages go between peers.
    """
    each = -(-len(rounds) // _BARS)
    group = rounds["round"].rank(method="first").sub(1).floordiv(each)
    mean = rounds.groupby(group).mean()
    first, last = rounds.groupby(group)["round"].min(), rounds.groupby(group)["round"].max()
    names = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(first, last, strict=True)]
    drawn = figure(x="round", y="seconds of a round", barmode="stack", bargap=0.1)
    for part, (colour, hatch, called) in PARTS.items():
        column = mean[f"{part}_s"]
        if not column.any():
            continue
        drawn.add_trace(
            go.Bar(
                x=(first + last).to_numpy() / 2,
                y=column.to_numpy(),
                name="peer to peer" if peers and part == "uplink" else called,
                marker=hatched(colour, hatch),
                text=[f"round {n}: {v:.4g} s" for n, v in zip(names, column, strict=True)],
                textposition="none",
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            )
        )
    return drawn


def rounds_note(rounds: int) -> str:
    """What a bar is."""
    each = -(-rounds // _BARS)
    return f" Each bar is the mean of {each} rounds." if each > 1 else ""


def critical_path_table(runs: dict[str, Trace]) -> Table:
    """Mean seconds of a round by part, and how long its participants did nothing."""
    rows = []
    for name, trace in runs.items():
        found = critical_path(trace)
        if not len(found):
            continue
        mean = found.mean()
        row: dict[str, Any] = {"run": name, "rounds": len(found), "length_s": mean["length_s"]}
        row |= {f"{part}_s": float(mean[f"{part}_s"]) for part in PARTS}
        network_s = row["downlink_s"] + row["uplink_s"]
        row["network_share"] = network_s / row["length_s"]
        rows.append(row | {"participants_wait_s": float(waiting(trace).mean())})
    columns = {"run": Column(head="run"), "rounds": Column(head="rounds", show=count)}
    columns["length_s"] = Column(head="mean round", show=seconds)
    columns |= {f"{part}_s": Column(head=PARTS[part][2], show=seconds) for part in PARTS}
    columns["network_share"] = Column(head="network's share", show=share)
    columns["participants_wait_s"] = Column(head="participants wait", show=seconds)
    return Table(
        title="Mean round by part",
        says="The parts add up to the round. Messages between peers count as uplink. Beside "
        "them: how long a participant waits for the others, the mean.",
        file="rounds",
        frame=pd.DataFrame(rows, columns=list(columns)),
        columns=columns,
    )


def gantt_figure(trace: Trace) -> tuple[go.Figure, str]:
    """Who did what in the first rounds, the critical path outlined; and what was left out."""
    doings, until_s = _doings(trace)
    nodes = [n for n in trace.nodes["node"] if n in set(doings["node"])]
    shown, rest = nodes[:_NODES], len(nodes[_NODES:])
    path = path_of(trace)
    path = path[path["end_s"] <= until_s]
    # whoever was waited for is seen, whatever its number
    waited = [n for n in nodes if n in set(path["node"]) and n not in shown]
    if waited:
        kept = [n for n in shown if n == _SERVER or n in set(path["node"])]
        others = [n for n in shown if n not in kept]
        shown = sorted([*kept, *waited, *others][:_NODES], key=nodes.index)
    doings = doings[doings["node"].isin(shown)]
    row = {node: -number for number, node in enumerate(shown)}
    drawn = figure(
        x="simulated seconds",
        height=110 + 34 * len(shown),
        barmode="overlay",
        yaxis_tickvals=list(row.values()),
        yaxis_ticktext=[short(node, 14) for node in shown],
        yaxis_range=[-len(shown) + 0.45, 0.55],
        yaxis_showgrid=False,
    )
    for part, (colour, hatch, called) in PARTS.items():
        found = doings[doings["part"] == part]
        if not len(found):
            continue
        # computing above, the network below: among peers both go on at once
        up = 0.2 if part in ("compute", "server") else -0.2
        drawn.add_trace(
            go.Bar(
                orientation="h",
                base=found["start_s"].to_numpy(),
                x=(found["end_s"] - found["start_s"]).to_numpy(),
                y=found["node"].map(row).to_numpy() + up,
                width=0.34,
                name="peer to peer" if trace.peers and part == "uplink" else called,
                marker=hatched(colour, hatch),
                text=[
                    f"<b>{d['node']}</b> {d['what']}, round {d['round']}<br>{d['start_s']:.6g} to "
                    f"{d['end_s']:.6g} s: {d['end_s'] - d['start_s']:.4g} s"
                    for d in found.to_dict("records")
                ],
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
            )
        )
    drawn.add_trace(_outline(path[path["node"].isin(shown)], row))
    says = f" {rest} more that took part are not drawn." if rest > 0 else ""
    return drawn, says


def _doings(trace: Trace) -> tuple[pd.DataFrame, float]:
    """What was done in the first rounds, of which there are as many as can be drawn."""
    activities, transfers = trace.activities, trace.transfers
    ends = activities[activities["verb"].isin(("aggregate", "mix"))].groupby("round")["end_s"].max()
    down = transfers["source"] == _SERVER
    doings = pd.concat(
        [
            activities.assign(
                part=activities["node"].eq(_SERVER).map({True: "server", False: "compute"}),
                what=activities["verb"],
            ),
            transfers.assign(
                node=transfers["target"].where(down, transfers["source"]),
                part=down.map({True: "downlink", False: "uplink"}),
                what="from " + transfers["source"] + " to " + transfers["target"],
            ),
        ]
    )[["start_s", "end_s", "node", "round", "part", "what"]]
    doings = doings[doings["end_s"] > doings["start_s"]].sort_values("end_s")
    until_s = float(doings["end_s"].max()) if len(doings) else 0.0
    for end_s in ends.head(_ROUNDS)[::-1]:
        until_s = float(end_s)
        if (doings["start_s"] < until_s).sum() <= _DOINGS:
            break
    return doings[doings["start_s"] < until_s].head(_DOINGS), until_s


def _outline(path: pd.DataFrame, row: dict[str, int]) -> go.Scatter:
    """The critical path as a line through the lanes of its doings."""
    x: list[float] = []
    y: list[float] = []
    for doing in path.to_dict("records"):
        up = {"compute": 0.2, "server": 0.2, "wait": 0.0}.get(doing["part"], -0.2)
        x += [doing["start_s"], doing["end_s"]]
        y += [row[doing["node"]] + up] * 2
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name="critical path",
        line={"color": INK, "width": 2, "shape": "vh"},
        hoverinfo="skip",
    )
