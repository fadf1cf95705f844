"""Bytes by direction and layer, and how busy the links were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, Final, cast

import pandas as pd
import plotly.graph_objects as go

from simfl.record import Trace
from simfl.reporting.blocks import Column, Table, count, nbytes, share
from simfl.reporting.palette import BLUE, GREEN, GREY, VERMILION
from simfl.reporting.style import figure, hatched, short
from simfl.scenario import loads
from simfl.work import Manifest

_LAYERS: Final = 14
_LINKS: Final = 20
_OTHERS: Final = "other layers"
FRAME: Final = "of no layer"
"""Of a message's bytes, those that no tensor has: a first byte, what is added to a payload."""
_WAYS: Final = {"down": (GREEN, "\\"), "up": (VERMILION, "/"), "peer to peer": (VERMILION, "/")}


def layer_bytes(trace: Trace) -> pd.DataFrame:
    """Bytes of all messages by direction and layer, as the scenario's codec counts each tensor.

    They add up to the bytes of the table ``transfers``: what a message has beside its tensors is
    in a row of its own, `FRAME`.

    Returns:
        Columns ``way`` (down, up or peer to peer), ``layer`` and ``nbytes``.
    """
    choice = loads(trace.scenario, str(trace.path), folder=trace.folder).codec
    codec = choice.plugin().build(choice.options)
    empty = codec.nbytes(Manifest(tensors=()))
    sent = trace.transfers
    way = sent["source"].eq("server").map({True: "down", False: "up"})
    if trace.peers:
        way[:] = "peer to peer"
    found: Counter[tuple[str, str]] = Counter()
    groups = sent.groupby([way, "manifest", "nbytes"]).size()
    sizes: dict[int, list[tuple[str, int]]] = {}
    for key, messages in groups.items():
        direction, number, size = cast(tuple[str, int, int], key)
        if number not in sizes:
            sizes[number] = [
                (
                    info.name.rpartition(".")[0] or info.name,
                    codec.nbytes(Manifest(tensors=(info,))) - empty,
                )
                for info in trace.manifest(number).tensors
            ]
        rest = size
        for layer, each in sizes[number]:
            found[direction, layer] += messages * each
            rest -= each
        found[direction, FRAME] += messages * rest
    rows = [(*key, total) for key, total in found.items() if total]
    return pd.DataFrame(rows, columns=["way", "layer", "nbytes"])


def layers_figure(found: pd.DataFrame) -> go.Figure:
    """Bars by layer, a colour for each direction.

    Args:
        found: of `layer_bytes`.
    """
    order = list(dict.fromkeys(found["layer"]))
    total = found.groupby("layer")["nbytes"].sum()
    largest = set(total.nlargest(_LAYERS).index)
    if len(order) > _LAYERS:
        found = found.assign(layer=found["layer"].where(found["layer"].isin(largest), _OTHERS))
        order = [layer for layer in order if layer in largest] + [_OTHERS]
    table = found.groupby(["layer", "way"])["nbytes"].sum().unstack(fill_value=0).reindex(order)
    drawn = figure(
        x="bytes of all messages",
        height=110 + 26 * len(order),
        barmode="stack",
        yaxis_autorange="reversed",
        yaxis_type="category",
    )
    for way in table:
        colour, hatch = _WAYS[str(way)]
        drawn.add_trace(
            go.Bar(
                orientation="h",
                y=[short(layer) for layer in order],
                x=table[way].to_numpy(),
                name=str(way),
                marker=hatched(colour, hatch),
                text=[f"{layer}: {nbytes(v)}" for layer, v in zip(order, table[way], strict=True)],
                textposition="none",
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            )
        )
    return drawn


def bytes_table(runs: Mapping[str, Trace]) -> Table:
    """Messages and bytes by direction."""
    rows = []
    for name, trace in runs.items():
        sent = trace.transfers
        way = sent["source"].eq("server").map({True: "down", False: "up"})
        for direction, found in sent.groupby(way):
            rows.append(
                {
                    "run": name,
                    "way": "peer to peer" if trace.peers else direction,
                    "messages": len(found),
                    "sent_bytes": int(found["nbytes"].sum()),
                    "first_bytes": int(found["nbytes"].iloc[0]),
                    "last_bytes": int(found["nbytes"].iloc[-1]),
                }
            )
    columns = {
        "run": Column(head="run"),
        "way": Column(head="direction"),
        "messages": Column(head="messages", show=count),
        "sent_bytes": Column(head="bytes", show=nbytes),
        "first_bytes": Column(head="first message", show=nbytes),
        "last_bytes": Column(head="last message", show=nbytes),
    }
    return Table(
        title="Bytes by direction",
        says="",
        file="bytes",
        frame=pd.DataFrame(rows, columns=list(columns)),
        columns=columns,
    )


def links_figure(links: pd.DataFrame) -> go.Figure:
    """The busiest links, by the share of what they could have carried."""
    busiest = links.nlargest(_LINKS, "busy")
    drawn = figure(
        x="share of capacity used",
        height=90 + 22 * len(busiest),
        showlegend=False,
        yaxis_autorange="reversed",
        yaxis_type="category",
        xaxis_tickformat=".3~p",
        xaxis_rangemode="tozero",
    )
    drawn.add_trace(
        go.Bar(
            orientation="h",
            y=[short(link) for link in busiest["link"]],
            x=busiest["busy"].to_numpy(),
            marker={"color": [GREY if unit == "s" else BLUE for unit in busiest["unit"]]},
            text=[
                f"{row['link']}<br>busy {share(row['busy'])}, {_carried(row)}"
                for row in busiest.to_dict("records")
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    return drawn


def _carried(row: Mapping[Hashable, Any]) -> str:
    if row["unit"] == "s":
        return f"{row['used']:,.4g} s of air"
    return nbytes(row["used"] / 8)


def links_note(links: pd.DataFrame) -> str:
    """What is not drawn of a run's links."""
    rest = len(links) - _LINKS
    if rest <= 0:
        return ""
    least = links["busy"].nlargest(_LINKS).iloc[-1]
    return f"The {_LINKS} busiest of {len(links)}; the others were busy {share(least)} or less."
