"""How much of each layer is stored, round by round."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simfl.record import Trace
from simfl.reporting.style import figure, short

_ROUNDS: Final = 150
_SCALE: Final = "Cividis"


def densities(trace: Trace) -> pd.DataFrame:
    """Of each weight, the share of its first size that is stored, by round.

    Of the server's model, or the first peer's; biases and the like, of one dimension, are left
    out. Where filters were cut away, what is gone counts as not stored.

    Returns:
        One row per round, one column per weight in the network's order.
    """
    made = trace.activities[trace.activities["verb"].isin(("initial", "aggregate", "mix"))]
    if trace.peers:
        made = made[made["node"] == trace.peers[0]]
    made = made.drop_duplicates("round", keep="last")
    counts = trace.manifests
    weights = counts[counts["shape"].str.contains("x")]
    stored = weights.pivot_table(
        index="manifest", columns="tensor", values="nonzero", aggfunc="first", sort=False
    )
    first = made["manifest"].head(1)
    sizes = weights[weights["manifest"].isin(first)].set_index("tensor")["size"]
    found = stored.reindex(made["manifest"])[list(sizes.index)] / sizes
    return found.set_axis(pd.Index(made["round"], name="round"))


def densities_figure(found: pd.DataFrame) -> tuple[go.Figure, str]:
    """A heat map of layers and rounds; and what of the rounds is drawn.

    Args:
        found: of `densities`.
    """
    every = -(-len(found) // _ROUNDS)
    at = [*range(0, len(found) - 1, every), len(found) - 1]
    shown = found.iloc[at]
    names = [str(name).removesuffix(".weight") for name in found]
    drawn = figure(
        x="round", height=120 + 24 * len(names), showlegend=False, yaxis_autorange="reversed"
    )
    drawn.add_trace(
        go.Heatmap(
            x=shown.index.to_numpy(),
            y=[short(name) for name in names],
            z=shown.to_numpy(dtype=np.float32).T,
            zmin=0,
            zmax=1,
            colorscale=_SCALE,
            colorbar={
                "tickformat": ".0%",
                "thickness": 10,
                "len": 1,
                "outlinewidth": 0,
                "title": {"text": "stored", "side": "top"},
            },
            hovertemplate="%{y}, round %{x}: %{z:.2%} stored<extra></extra>",
        )
    )
    says = f" One round in {every} is drawn." if every > 1 else ""
    return drawn, says


def pruned(found: pd.DataFrame) -> bool:
    """Whether anything was pruned, at any time."""
    return bool((found < 1).to_numpy().any())
