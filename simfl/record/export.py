"""The tables of a trace as files that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from simfl.record.reader import Trace
from simfl.record.schema import COLUMNS

Format = Literal["csv", "parquet"]
FORMATS: Final[tuple[Format, ...]] = ("csv", "parquet")


def write_tables(trace: Trace, folder: Path, format: Format) -> list[Path]:
    """Write each table to a file of its own, named as the table; an empty one has its header.

    CSV has every number in the shortest form that reads back as the same; nan is an empty cell.
    Parquet needs pyarrow.

    Raises:
        OSError: one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for table in COLUMNS:
        path = folder / f"{table}.{format}"
        frame = getattr(trace, table)
        if format == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
        paths.append(path)
    return paths
