"""Reads a trace into pandas."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from simfl.errors import TraceError
from simfl.keys import Key
from simfl.record.curve import curve_of, row_reached
from simfl.record.schema import COLUMNS, LATER, VERSION, dtype_of
from simfl.record.upgrade import PREVIOUS, upgraded
from simfl.work import Manifest, TensorInfo


class Trace:
    """One run, read. Tables are DataFrames with the columns of `simfl.record.schema`.

    Args:
        path: the HDF5 file; one whose writer was killed is read up to its last block.

    Raises:
        TraceError: missing, not HDF5, cut short or not a trace.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            _refuse_cut(self.path)
            with h5py.File(self.path, "r", swmr=True) as file:
                self.attributes: dict[str, Any] = dict(file.attrs)
                version = self.attributes.get("schema_version")
                if version not in (VERSION, PREVIOUS):
                    raise TraceError(
                        f"{self.path}: not a trace of this version of simfl; run the scenario again"
                    )
                self.status = bytes(file["status"][0]).decode(errors="ignore")
                older = version == PREVIOUS
                may_lack = COLUMNS if older else LATER
                self._tables = {t: file[t][:] for t in COLUMNS if t in file or t not in may_lack}
                if older:
                    self._tables = upgraded(self._tables)
                for table in LATER:
                    self._tables.setdefault(table, np.zeros(0, dtype_of(table, 1)))
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            reason = "no such file" if not self.path.exists() else "not a whole trace"
            raise TraceError(f"{self.path}: {reason}; give the HDF5 file of a run") from error

    @classmethod
    def open(cls, path: str | Path) -> Trace:
        """The same as calling the class."""
        return cls(path)

    @cached_property
    def activities(self) -> pd.DataFrame:
        """What each node computed."""
        return self._frame("activities")

    @cached_property
    def transfers(self) -> pd.DataFrame:
        """What was sent."""
        return self._frame("transfers")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Evaluations, in the order of time."""
        return self._frame("scores")

    @cached_property
    def curve(self) -> pd.DataFrame:
        """Evaluations by round: the server's; of peers the mean of those that ended it.

        Columns as in ``scores``, without the node and the key.
        """
        return curve_of(self.scores, self.rounds)

    @property
    def peers(self) -> list[str]:
        """The nodes of a run without a server; else none."""
        return list(self.nodes["node"][self.nodes["role"] == "peer"])

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """When each round was over; round 0 is what came before the first."""
        return self._frame("rounds")

    @cached_property
    def away(self) -> pd.DataFrame:
        """When nodes were not there."""
        return self._frame("away")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What was measured in activities, by the key of their results."""
        return self._frame("metrics")

    @cached_property
    def manifests(self) -> pd.DataFrame:
        """Counts per tensor behind each manifest number."""
        return self._frame("manifests")

    @cached_property
    def links(self) -> pd.DataFrame:
        """What has crossed each link, and the share of its capacity that was used."""
        return self._frame("links")

    @cached_property
    def energy(self) -> pd.DataFrame:
        """Seconds and joules of each node and kind of doing, at the end of the run."""
        return self._frame("energy")

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """Who took part."""
        return self._frame("nodes")

    @cached_property
    def repeats(self) -> pd.DataFrame:
        """The same run in other possible worlds, one row per draw."""
        return self._frame("repeats")

    @cached_property
    def repeat_curves(self) -> pd.DataFrame:
        """Evaluations by round in those worlds; none where they were timed by an early simfl."""
        return self._frame("repeat_curves")

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return self.status.startswith("complete")

    @property
    def scenario(self) -> str:
        """The resolved scenario, YAML."""
        return str(self.attributes["scenario"])

    @property
    def folder(self) -> Path:
        """What the paths in the scenario are relative to."""
        return Path(str(self.attributes["folder"]))

    @property
    def dataset(self) -> dict[str, Any]:
        """The data set actually used: name, digest, and whether it stood in for another."""
        found: dict[str, Any] = json.loads(self.attributes["dataset"])
        return found

    def raw(self, table: str) -> np.ndarray[Any, np.dtype[np.void]]:
        """A table's records as stored, for comparing two runs byte by byte."""
        records: np.ndarray[Any, np.dtype[np.void]] = self._tables[table]
        return records

    def time_to_accuracy(self, target: float, consecutive: int = 1) -> float:
        """Simulated seconds until that accuracy was held in so many evaluations in a row; else inf.

        PruneFL's rule is 95 % in ten consecutive evaluations. Of peers, the mean accuracy counts.
        """
        row = row_reached(self.curve, target, consecutive)
        return float("inf") if row is None else float(self.curve["time_s"].iloc[row])

    def joules_to_accuracy(self, target: float, consecutive: int = 1) -> float:
        """Joules of the clients or peers until `time_to_accuracy`; inf if that never was.

        Unknown (nan) where a device has no figures; what a radio without figures drew is missing.
        """
        row = row_reached(self.curve, target, consecutive)
        return float("inf") if row is None else float(self.curve["joules"].iloc[row])

    def bytes_to_accuracy(self, target: float, consecutive: int = 1) -> float:
        """Bytes sent, both directions, until `time_to_accuracy`; inf if that never was."""
        row = row_reached(self.curve, target, consecutive)
        sent = self.curve["down_bytes"] + self.curve["up_bytes"]
        return float("inf") if row is None else float(sent.iloc[row])

    def rounds_to_accuracy(self, target: float, consecutive: int = 1) -> int | None:
        """The round at which `time_to_accuracy` falls; None if it never does."""
        row = row_reached(self.curve, target, consecutive)
        return None if row is None else int(self.curve["round"].iloc[row])

    def accuracy_at_bytes(self, budget: int) -> float:
        """The last accuracy found before more than ``budget`` bytes were sent; nan if none was.

        Both directions count. Source: FedDIP (Long et al. 2023), Table IV.
        """
        spent = self.curve["down_bytes"] + self.curve["up_bytes"]
        within = self.curve["accuracy"][spent <= budget]
        return float(within.iloc[-1]) if len(within) else float("nan")

    def recorded(self) -> dict[Key, Manifest]:
        """Every artifact's manifest by key: what a run with this trace need not compute again."""
        manifests = self._by_number
        known: dict[Key, Manifest] = {}
        for table in ("activities", "transfers"):
            rows = self._tables[table]
            for key, number in zip(rows["key"].tolist(), rows["manifest"].tolist(), strict=True):
                if number in manifests:
                    known[Key(key.decode())] = manifests[number]
        measured: dict[Key, dict[str, float]] = {}
        for row in self._tables["metrics"]:
            of = measured.setdefault(Key(row["key"].decode()), {})
            of[row["metric"].decode()] = float(row["value"])
        known |= {key: Manifest(metrics=metrics) for key, metrics in measured.items()}
        for row in self._tables["scores"]:
            metrics = {"accuracy": float(row["accuracy"]), "loss": float(row["loss"])}
            known[Key(row["key"].decode())] = Manifest(metrics=metrics)
        return known

    def manifest(self, number: int) -> Manifest:
        """The counts behind a manifest's number.

        Raises:
            KeyError: no such number, or it has no tensors.
        """
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, Manifest]:
        by_number: dict[int, list[TensorInfo]] = {}
        for row in self._tables["manifests"]:
            shape = row["shape"].decode()
            info = TensorInfo(
                name=row["tensor"].decode(),
                shape=tuple(int(n) for n in shape.split("x")) if shape else (),
                dtype=row["dtype"].decode(),
                nonzero=int(row["nonzero"]),
                known=bool(row["known"]),
            )
            by_number.setdefault(int(row["manifest"]), []).append(info)
        return {number: Manifest(tensors=tuple(infos)) for number, infos in by_number.items()}

    def __repr__(self) -> str:
        from simfl.record.shown import line

        return line(self)

    def _repr_html_(self) -> str:
        """A notebook's view of it."""
        from simfl.record.shown import table

        return table(self)

    def _frame(self, table: str) -> pd.DataFrame:
        records = self._tables[table]
        columns = {}
        for name in records.dtype.names or ():
            column = records[name]
            columns[name] = np.char.decode(column) if column.dtype.kind == "S" else column
        return pd.DataFrame(columns)


def _refuse_cut(path: Path) -> None:
    """A file shorter than its superblock says: HDF5 would wait for the rest without end."""
    with path.open("rb") as file:
        head = file.read(48)
    if head[:9] == b"\x89HDF\r\n\x1a\n\x03":
        due = int.from_bytes(head[28:36], "little")
        if len(head) < 48 or path.stat().st_size < due:
            raise OSError("cut short")
