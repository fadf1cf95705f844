"""Accuracy over rounds, from evaluations."""

from __future__ import annotations

import pandas as pd


def curve_of(scores: pd.DataFrame, holders: int) -> pd.DataFrame:
    """Evaluations by round: the mean of all holders, once the last of them is there.

    Args:
        scores: rows of the table ``scores``.
        holders: how many models a round has: 1 with a server, else the peers.

    Returns:
        Columns as in ``scores``, without the node and the key.
    """
    rounds = scores.drop(columns=["node", "key"]).groupby("round")
    last = rounds[["time_s", "down_bytes", "up_bytes", "joules"]].max()
    mean = rounds[["accuracy", "loss", "nonzero"]].mean()
    whole = rounds.size() == holders
    return last.join(mean)[whole].reset_index()


def row_reached(curve: pd.DataFrame, target: float, consecutive: int) -> int | None:
    """The row in which an accuracy was held in so many evaluations in a row; None if never.

    >>> row_reached(pd.DataFrame({"accuracy": [0.5, 0.9, 0.4, 0.9, 0.9]}), 0.9, 2)
    4
    """
    run = 0
    for row, accuracy in enumerate(curve["accuracy"]):
        run = run + 1 if accuracy >= target else 0
        if run >= consecutive:
            return row
    return None
