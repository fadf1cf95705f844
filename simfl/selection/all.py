"""Everybody who is there, whatever size the protocol wants."""

from __future__ import annotations

from collections.abc import Sequence

from simfl.registry import SELECTION
from simfl.selection.base import Pool, Selection, SelectionOptions


class AllOptions(SelectionOptions):
    """None."""


@SELECTION.register("all", options=AllOptions)
def everybody(options: AllOptions, pool: Pool) -> Sequence[int]:
    """All of them."""
    return pool.clients


_: Selection = everybody
