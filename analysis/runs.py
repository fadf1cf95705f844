"""What the scripts here share: a run is made once, and read ever after."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import simfl


def arguments(text: str | None, out: str) -> argparse.ArgumentParser:
    """The parser of a script that makes runs: where its data lie, and where its traces.

    Args:
        text: the script's docstring, of which the help shows the first line.
        out: where traces lie if nothing is said.
    """
    parser = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="where the data sets lie")
    parser.add_argument("--out", type=Path, default=Path(out), help="where the traces lie, or will")
    return parser


def complete(path: Path) -> simfl.Trace | None:
    """The trace at that path, if a run is there and reached its end."""
    if path.exists() and (trace := simfl.Trace(path)).complete:
        return trace
    return None


def made(
    scenario: str | Path,
    changes: Iterable[str],
    out: Path,
    *,
    data_dir: str | Path | None,
    scale: str | None = None,
    **host: Any,
) -> simfl.Trace:
    """The run's trace: what is complete is read, what was killed goes on, what is not there is run.

    Args:
        scenario: as of `simfl.load`, like ``changes`` and ``scale``.
        changes: ``key.path=value`` texts.
        out: where the trace lies, or will; its folder is made.
        data_dir: as of `simfl.run`.
        scale: a share of rounds and clients.
        host: ``store``, ``executor`` and ``workers`` of `simfl.run`.
    """
    if (trace := complete(out)) is not None:
        return trace
    if out.exists():
        return simfl.resume(out, data_dir=data_dir, **host)
    out.parent.mkdir(parents=True, exist_ok=True)
    return simfl.run(simfl.load(scenario, changes, scale=scale), data_dir=data_dir, out=out, **host)
