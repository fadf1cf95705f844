"""Device utilisation and energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from simfl.record import Trace
from simfl.record.summary import by_device
from simfl.reporting.blocks import Column, Table, count, joules, nbytes, seconds, share
from simfl.reporting.palette import BLUE, GREEN, GREY, VERMILION
from simfl.reporting.style import figure, hatched, short

_KINDS: Final = {
    "compute": ("computing", BLUE, ""),
    "transmit": ("sending", VERMILION, "/"),
    "receive": ("receiving", GREEN, "\\"),
    "idle": ("idle", GREY, "."),
}


def _by_kind(trace: Trace, value: str) -> pd.DataFrame:
    """Of each device and kind of doing: the mean of its nodes, the least and the most."""
    device = trace.nodes.set_index("node")["device"].str.partition("/")[0]
    energy = trace.energy
    groups = energy.groupby([energy["node"].map(device), energy["kind"]], sort=False)[value]
    found = pd.DataFrame(
        {
            "mean": groups.agg(lambda v: v.mean(skipna=False)),
            "least": groups.min(),
            "most": groups.max(),
        }
    )
    return found.rename_axis(["device", "kind"])


def utilisation_figure(trace: Trace) -> go.Figure:
    """The share of the run that a device's nodes computed, sent and received."""
    found = _by_kind(trace, "seconds")
    whole = trace.energy[trace.energy["kind"].isin(("idle", "compute"))]
    length_s = float(whole.groupby("node")["seconds"].sum().max())
    return _bars(found / length_s if length_s else found, "share of the run", idle=False)


def energy_figure(trace: Trace) -> tuple[go.Figure | None, str]:
    """Joules of a node by what it did; None where no device's are known. And what is not."""
    every, done = _by_kind(trace, "joules"), _by_kind(trace, "seconds")["most"] > 0
    unknown: dict[str, list[str]] = {}
    for device, kind in every.index[every["mean"].isna() & done]:
        unknown.setdefault(_KINDS[kind][0], []).append(device)
    notes = [f"{kind} of {', '.join(devices)}" for kind, devices in unknown.items()]
    says = f"Not known, and not drawn: {'; '.join(notes)}." if notes else ""
    found = every.dropna(subset="mean")
    return (_bars(found, "joules of a node, mean", idle=True) if len(found) else None), says


def _bars(found: pd.DataFrame, title: str, *, idle: bool) -> go.Figure:
    told = joules if idle else share
    devices = list(dict.fromkeys(found.index.get_level_values("device")))
    drawn = figure(
        x=title,
        height=110 + (40 if idle else 60) * len(devices),
        barmode="stack" if idle else "group",
        yaxis_autorange="reversed",
        yaxis_type="category",
    )
    if not idle:
        drawn.update_xaxes(tickformat=".3~p", rangemode="tozero")
    for kind, (called, colour, hatch) in _KINDS.items():
        if kind not in found.index.get_level_values("kind") or (kind == "idle" and not idle):
            continue
        part = found.xs(kind, level="kind").reindex(devices)
        mean, each = part["mean"], pd.DataFrame(part).to_dict("records")
        spread = {
            "type": "data",
            "symmetric": False,
            "array": (part["most"] - mean).to_numpy(),
            "arrayminus": (mean - part["least"]).to_numpy(),
            "thickness": 1,
        }
        drawn.add_trace(
            go.Bar(
                orientation="h",
                y=[short(device) for device in devices],
                x=mean.to_numpy(),
                name=called,
                marker=hatched(colour, hatch),
                error_x=None if idle else spread,
                text=[
                    f"{device}: {told(row['mean'])} ({told(row['least'])} to {told(row['most'])})"
                    for device, row in zip(devices, each, strict=True)
                ],
                textposition="none",
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            )
        )
    return drawn


def devices_table(runs: Mapping[str, Trace]) -> Table:
    """What each device did and drew."""
    frame = pd.concat(
        [by_device(trace).assign(run=name) for name, trace in runs.items()], ignore_index=True
    )
    columns = {
        "run": Column(head="run"),
        "role": Column(head="role"),
        "device": Column(head="device"),
        "nodes": Column(head="nodes", show=count),
        "busy_s": Column(head="computing, each", show=seconds),
        "sent_bytes": Column(head="sent", show=nbytes),
        "received_bytes": Column(head="received", show=nbytes),
        "joules": Column(head="energy, each", show=joules),
    }
    if frame["battery"].notna().any():
        columns["battery"] = Column(head="of its battery", show=share)
    return Table(
        title="Devices",
        says="Computing and energy are means of a node, bytes are those of all nodes together. "
        "No energy: the device's file has no watts, idle or busy. What a radio drew is missing "
        "where its watts are not known.",
        file="devices",
        frame=frame[list(columns)],
        columns=columns,
    )
