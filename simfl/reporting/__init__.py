"""The report: one HTML page of runs and studies, and figures for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from simfl.errors import ScenarioError, TraceError
from simfl.record import Trace
from simfl.reporting.page import MARK, page_of
from simfl.reporting.runs import names_of, run_sections
from simfl.reporting.study import Study, read_study, study_of
from simfl.reporting.study_page import study_sections

Source: TypeAlias = str | Path | Trace | pd.DataFrame
"""A trace or its path; a study's table or its path."""
_TABLES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is reported, by name."""

    runs: dict[str, Trace]
    studies: dict[str, Study]

    @classmethod
    def read(cls, sources: Sequence[Source]) -> Sources:
        """What is given as a path is read now; that of a table ends in .csv or .parquet.

        Raises:
            TraceError: not a trace.
            ScenarioError: not a study's table, or nothing at all.
        """
        if not sources:
            raise ScenarioError("nothing to report; give the trace of a run, or a study's table")
        traces: list[Trace] = []
        studies: list[tuple[Path, Study]] = []
        for source in sources:
            if isinstance(source, Trace):
                traces.append(source)
            elif isinstance(source, pd.DataFrame):
                # a table in memory has no name of its own
                at = Path(f"table {len(studies) + 1}")
                studies.append((at, study_of(source, str(at))))
            elif Path(source).suffix in _TABLES:
                studies.append((Path(source), read_study(Path(source))))
            else:
                traces.append(Trace(source))
        names = names_of([trace.path for trace in traces])
        tables = names_of([path for path, _ in studies])
        return cls(
            runs=dict(zip(names, traces, strict=True)),
            studies=dict(zip(tables, [study for _, study in studies], strict=True)),
        )


def write_page(read: Sources, out: Path, targets: Sequence[float] = ()) -> None:
    """One page of some runs and studies.

    Args:
        read: what it is of.
        out: where it goes; a page of before is written over, another file is not.
        targets: accuracies to reach; else the scenarios' own, else one that all runs reach.

    Raises:
        ScenarioError: a file that is no page stands in the way, or the page cannot be written.
        TraceError: a run that ended before anything was recorded of it.
    """
    refuse_to_overwrite(out)
    for trace in read.runs.values():
        if not len(trace.activities):
            raise TraceError(
                f"{trace.path}: nothing to draw: no activity is recorded ({trace.status}); "
                "resume the run, or run it again"
            )
    sections = run_sections(read.runs, targets) if read.runs else []
    for name, study in read.studies.items():
        sections += study_sections(name, study)
    runs, studies = len(read.runs), len(read.studies)
    told = [f"{runs} run{'s' * (runs > 1)}"] if runs else []
    told += [f"{studies} stud{'ies' if studies > 1 else 'y'}"] if studies else []
    page = page_of(", ".join([*read.runs, *read.studies]), " and ".join(told), sections)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _unwritable(out, error) from error


def write_figures(
    read: Sources, stem: Path, ending: str, targets: Sequence[float] = ()
) -> list[Path]:
    """Figures for a paper.

    Args:
        read: what they are of.
        stem: how their names begin.
        ending: ``png`` or ``pdf``.
        targets: accuracies to mark.

    Returns:
        The files.

    Raises:
        ScenarioError: matplotlib is not installed, or a file cannot be written.
    """
    refuse_without_matplotlib(ending)
    from simfl.reporting.paper import save_runs, save_study

    written = []
    try:
        if read.runs:
            written += save_runs(read.runs, stem, ending, targets)
        for name, study in read.studies.items():
            named = stem if len(read.studies) == 1 else stem.with_name(f"{stem.name}-{name}")
            written += save_study(study, named, ending)
    except OSError as error:
        raise _unwritable(stem, error) from error
    return written


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


def refuse_without_matplotlib(ending: str) -> None:
    """Said before anything is written.

    Raises:
        ScenarioError: it is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ScenarioError(f"--{ending}: needs matplotlib; pip install 'simfl[paper]'")


def _unwritable(out: Path, error: OSError) -> ScenarioError:
    reason = (error.strerror or str(error)).lower()
    return ScenarioError(f"--out {out}: cannot be written: {reason}; give another place")


__all__ = [
    "Source",
    "Sources",
    "refuse_to_overwrite",
    "refuse_without_matplotlib",
    "write_figures",
    "write_page",
]
