"""Where data sets lie on this machine, and what stands in for one that is not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from simfl import registry
from simfl.datasets.base import Dataset, DataSpec
from simfl.errors import DataError
from simfl.partitions.base import Held
from simfl.scenario.choices import DatasetChoice


@dataclass(frozen=True, kw_only=True)
class Located:
    """A data set read.

    Attributes:
        asked: the name in the scenario; another than the data set's own where a fallback was taken.
        folder: where it was read from; empty for one that travels with a library.
        held: of a recorded run, what its clients held.
    """

    dataset: Dataset
    asked: str
    folder: str
    held: Held | None = None

    @property
    def stands_in(self) -> bool:
        """Whether this is not the data set that was asked for."""
        return self.dataset.name != self.asked


def data_folder(data_dir: Path | None) -> tuple[str, Path]:
    """Where data sets are looked for, and who named it: a flag, the environment, or nobody ("").

    ``data_dir``; else the folder that SIMFL_DATA names; else the user's cache, ``~/.cache/simfl``.
    """
    if data_dir:
        return "--data-dir", data_dir
    if os.environ.get("SIMFL_DATA"):
        return "SIMFL_DATA", Path(os.environ["SIMFL_DATA"])
    return "", Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "simfl"


def locate(choice: DatasetChoice, data_dir: Path | None, scenario_folder: Path = Path()) -> Located:
    """Read the scenario's data set, or its declared fallback.

    Looked for where `data_folder` says. A folder that was named must hold it: the fallback is for
    none at all. What a scenario names by path is looked for from ``scenario_folder``.

    Raises:
        DataError: a named folder lacks it, or it is nowhere and there is no fallback.
    """
    spec: DataSpec = choice.plugin().build(choice.options)
    if not spec.files:
        return Located(dataset=spec.read(scenario_folder), asked=choice.name, folder="")
    origin, folder = data_folder(data_dir)
    if origin and not folder.is_dir():
        raise DataError(f"{origin}: no folder {folder}; give the one that holds {spec.files[0]}")
    missing = spec.missing_in(folder)
    if not missing:
        return Located(dataset=spec.read(folder), asked=choice.name, folder=str(folder))
    if origin:
        raise DataError(
            f"{origin}: {folder / missing[0]} is missing; unpack {choice.name} there, or leave "
            f"{origin} out to run on the scenario's fallback"
        )
    if choice.fallback is None:
        raise DataError(
            f"{choice.name} is not on this machine (looked for {folder / spec.files[0]}) and the "
            "scenario names no fallback; give --data-dir, or set learning.dataset.fallback=digits"
        )
    plugin = registry.DATASETS.get(choice.fallback)
    stand_in: DataSpec = plugin.build(plugin.options())
    return Located(dataset=stand_in.read(folder), asked=choice.name, folder="")
