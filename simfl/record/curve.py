"""Accuracy over rounds, from evaluations."""

from __future__ import annotations

import pandas as pd


def curve_of(scores: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Evaluations by round: the mean of all models that are of it, at the time when it was over.

    Args:
        scores: rows of the table ``scores``.
        rounds: rows of the table ``rounds``.

    Returns:
        Columns as in ``scores``, without the node and the key.
    """
    by_round = scores.drop(columns=["node", "key", "time_s"]).groupby("round")
    last = by_round[["down_bytes", "up_bytes", "joules"]].max()
    mean = by_round[["accuracy", "loss", "nonzero"]].mean()
    ends_s = rounds.set_index("round")["end_s"].rename("time_s")
    curve = ends_s.to_frame().join(last, how="inner").join(mean)
    return curve.sort_index().reset_index()


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
