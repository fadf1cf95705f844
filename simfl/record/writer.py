"""Writes a trace: appended in blocks, and readable up to the last block whatever happens.

The file is kept in HDF5's single-writer mode once its tables stand: a reader, or whoever comes
after a killed writer, sees whole blocks only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from shutil import copyfile, disk_usage
from typing import Any, Final

import h5py
import numpy as np

from simfl.errors import TraceError
from simfl.record.schema import COLUMNS, STATUS, VERSION, dtype_of
from simfl.work import Manifest

BLOCK: Final = 2048
# more than one flush can take: a block of every table, and HDF5's own structures
_SPARE_BYTES: Final = 2**20
_ORDER: Final = (
    *("nodes", "links", "energy", "away", "rounds", "manifests", "metrics", "scores"),
    *("transfers", "activities"),
)
_FAULTS: Final = (OSError, RuntimeError, ValueError)
Row = tuple[Any, ...]


class TraceWriter:
    """One trace being written.

    Args:
        path: the file; overwritten. Its folder is made if need be.
        nodes: rows of the table ``nodes``.
        attributes: what the file carries besides tables: text and numbers; others as JSON.

    Raises:
        TraceError: the file cannot be made or written.
    """

    def __init__(self, path: Path, nodes: list[Row], attributes: Mapping[str, Any]) -> None:
        self.path = path
        self._rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
        self._manifests: dict[Manifest, int] = {}
        width = max(len(str(node[0]).encode()) for node in nodes)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = h5py.File(path, "w", libver="latest")
            for table in COLUMNS:
                _make_table(self._file, table, width)
            self._file.create_dataset("status", data=np.array([b"running"], dtype=STATUS))
            self._file.attrs["schema_version"] = VERSION
            for name, value in attributes.items():
                plain = isinstance(value, str | int | float)
                self._file.attrs[name] = value if plain else json.dumps(value, sort_keys=True)
            self._rows["nodes"] = nodes
            self.flush()
            self._file.swmr_mode = True
        except _FAULTS as error:
            raise TraceError(_reason(path, error)) from error

    def append(self, table: str, row: Row) -> None:
        """Add a row; written with its block."""
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= BLOCK:
            self.flush()

    def manifest(self, manifest: Manifest) -> int:
        """The number of a manifest, its rows written when it is first seen."""
        number = self._manifests.get(manifest)
        if number is None:
            number = self._manifests[manifest] = len(self._manifests)
            for info in manifest.tensors:
                shape = "x".join(map(str, info.shape))
                row = (number, info.name, shape, info.dtype, info.size, info.nonzero, info.known)
                self.append("manifests", row)
        return number

    def flush(self) -> None:
        """Write what is waiting; manifests first, since other rows name them.

        Raises:
            TraceError: no room, or another fault of the disk; what was flushed before stands.
        """
        try:
            _ensure_room(self.path)
            for table in _ORDER:
                rows, self._rows[table] = self._rows[table], []
                if rows:
                    _extend(self._file[table], rows)
                    self._file[table].flush()
        except _FAULTS as error:
            raise TraceError(_reason(self.path, error)) from error

    def close(self, status: str) -> None:
        """Write the rest and the final status, such as ``complete: accuracy reached``.

        Raises:
            TraceError: as `flush`.
        """
        self.flush()
        try:
            self._file["status"][0] = status.encode()[:255]
            self._file["status"].flush()
            self._file.close()
        except _FAULTS as error:
            raise TraceError(_reason(self.path, error)) from error

    def abandon(self) -> None:
        """Close in the middle of a run, as well as that can be done, to be resumed."""
        try:
            self.close("interrupted")
        except TraceError:
            # no room even for that: what is on disk already stands
            self._rows = {name: [] for name in COLUMNS}
            with suppress(*_FAULTS):
                self._file.close()


def append_rows(path: Path, tables: Mapping[str, list[Row]]) -> None:
    """Add rows to a finished trace: all of them or, whatever happens, none.

    Args:
        path: the trace.
        tables: rows by table; one that the trace lacks is made.

    Raises:
        TraceError: the file cannot be read or written; it stands as it was.
    """
    beside = path.with_name(path.name + ".added")
    try:
        _ensure_room(path, path.stat().st_size)
        copyfile(path, beside)
        with h5py.File(beside, "r+", libver="latest") as file:
            for table, rows in tables.items():
                if table not in file:
                    _make_table(file, table, 1)
                if rows:
                    _extend(file[table], rows)
        beside.replace(path)
    except _FAULTS as error:
        raise TraceError(_reason(path, error)) from error
    finally:
        beside.unlink(missing_ok=True)


def _make_table(file: h5py.File, table: str, name_width: int) -> None:
    file.create_dataset(
        table,
        (0,),
        maxshape=(None,),
        chunks=(BLOCK,),
        dtype=dtype_of(table, name_width),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )


def _ensure_room(path: Path, nbytes: int = 0) -> None:
    """Refuse a write that would fill the disk: HDF5 does not survive a failed one."""
    if disk_usage(path.parent).free < nbytes + _SPARE_BYTES:
        raise OSError(ENOSPC, "no space left on the disk")


def _extend(dataset: h5py.Dataset, rows: list[Row]) -> None:
    at = len(dataset)
    dataset.resize((at + len(rows),))
    dataset[at:] = np.array([_encoded(row) for row in rows], dtype=dataset.dtype)


def _encoded(row: Row) -> Row:
    """Text as UTF-8; numpy would take ASCII only."""
    return tuple(value.encode() if isinstance(value, str) else value for value in row)


def _reason(path: Path, error: Exception) -> str:
    """One line; HDF5 hides the system's reason in the middle of its own."""
    text = getattr(error, "strerror", None) or str(error).splitlines()[0]
    for sign in ("No space left", "Permission denied", "Read-only", "Is a directory"):
        if sign in str(error):
            text = sign.lower()
    return f"{path}: cannot write the trace: {text}; free space, or give another place with --out"
