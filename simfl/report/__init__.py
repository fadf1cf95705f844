"""The report: one HTML page of runs and studies, and figures for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simfl.errors import ScenarioError
from simfl.record import Trace
from simfl.report.page import MARK, page_of
from simfl.report.runs import names_of, run_sections
from simfl.report.study import read_study
from simfl.report.study_page import study_sections

_TABLES = (".csv", ".parquet")


def is_study(path: Path) -> bool:
    """Whether a path names the table of a study, and no trace."""
    return path.suffix in _TABLES


def write_page(paths: Sequence[Path], out: Path, targets: Sequence[float] = ()) -> None:
    """One page of some runs and studies.

    Args:
        paths: traces, and tables of studies (.csv, .parquet).
        out: where it goes; a page of before is written over, another file is not.
        targets: accuracies to reach; else the scenarios' own, else one that all runs reach.

    Raises:
        TraceError: not a trace.
        ScenarioError: not a table, or a file that is no page stands in the way.
        OSError: it cannot be written.
    """
    refuse_to_overwrite(out)
    traces = [path for path in paths if not is_study(path)]
    tables = [path for path in paths if is_study(path)]
    names = names_of(traces)
    runs = {name: Trace(path) for name, path in zip(names, traces, strict=True)}
    sections = run_sections(runs, targets) if runs else []
    for name, path in zip(names_of(tables), tables, strict=True):
        sections += study_sections(name, read_study(path))
    told = [f"{len(runs)} run{'s' * (len(runs) > 1)}"] if runs else []
    told += [f"{len(tables)} stud{'ies' if len(tables) > 1 else 'y'}"] if tables else []
    page = page_of(", ".join([*names, *names_of(tables)]), " and ".join(told), sections)
    out.write_text(page, encoding="utf-8")


def refuse_to_overwrite(out: Path) -> None:
    """A file that is no page of ours stays.

    Raises:
        ScenarioError: there is one, or a folder, or no folder to write into.
    """
    if not out.parent.is_dir():
        raise ScenarioError(f"--out {out}: there is no folder {out.parent}; make it")
    if out.is_dir():
        raise ScenarioError(f"--out {out}: is a folder; give the page a file name")
    if out.exists():
        with out.open(encoding="utf-8", errors="ignore") as file:
            if MARK not in file.read(1_000):
                raise ScenarioError(
                    f"--out {out}: stands already and is no page of simfl; give another name"
                )


__all__ = ["is_study", "refuse_to_overwrite", "write_page"]
