"""Crowds of devices: each client is one of them, drawn from published distributions.

A member is drawn by the scenario's seed, what is drawn, and the client's index: never by the order
of anything. More clients do not change those that were there.
"""

from __future__ import annotations

from bisect import bisect_right
from csv import DictReader
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from pathlib import Path
from random import Random
from typing import Final

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from simfl.cost.device import Device, Variation
from simfl.cost.figures import Access, Amount, Doubtful, MemoryRate, RadioRate, Ratio, Time
from simfl.cost.per_sample import PerSample
from simfl.errors import CostError
from simfl.keys import seed_of
from simfl.options import Options

_MS: Final = 1e-3
_KBIT: Final = 1e3
_GB: Final = 1e9


class Listed(Doubtful):
    """A file of numbers, beside the population's own.

    Attributes:
        file: comma-separated, with a header; lines that begin with # are comments.
        licence: under which it is given on.
    """

    file: str
    licence: str


class Population(Options):
    """Devices of one sort that differ in what is listed.

    Attributes:
        note: what a user should know of it; told in each run.
        training: forward passes that a sample of a training step takes.
        devices: members, with columns ``device, sample_ms, ram_gb``; each as likely as another.
        sample: instead, quantiles of a forward pass's time, columns ``quantile, sample_ms``; drawn
            between them on straight lines of logarithms, and not beyond the outermost.
        goodput: quantiles of a member's own link, columns ``quantile, kbps``; independent of the
            other.
        ram: of every member, where no column says.
        memory_rate: of every member.
        access: the usual link's preset.
        variation: of a member.
    """

    name: str
    description: str
    stack: str
    note: str
    training: Ratio
    devices: Listed | None = None
    sample: Listed | None = None
    goodput: Listed | None = None
    ram: Amount | None = None
    memory_rate: MemoryRate
    access: Access | None = None
    variation: Variation = Field(default_factory=Variation)
    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _one_source(self) -> Population:
        if (self.devices is None) == (self.sample is None):
            raise PydanticCustomError("source", "give either devices or sample, and not both")
        if (self.devices is None) == (self.ram is None):
            raise PydanticCustomError("ram", "give ram beside sample; devices have it in a column")
        return self

    def at(self, folder: Path) -> Population:
        """The same, its files in that folder."""
        self._folder = folder
        return self

    def member(self, seed: int, index: int) -> Device:
        """The device of one client.

        Args:
            seed: the scenario's.
            index: the client's or peer's, from 0.

        Raises:
            CostError: a file of the population is wrong.
        """
        return self._device(self._drawn(seed, index))

    @property
    def members(self) -> list[str]:
        """Names of all that are listed; empty where only quantiles are.

        Raises:
            CostError: a file of the population is wrong.
        """
        return [] if self.devices is None else [m.name for m in _listed(self._path(self.devices))]

    def _path(self, listed: Listed) -> Path:
        return self._folder / listed.file

    def _drawn(self, seed: int, index: int) -> _Member:
        def share(purpose: str) -> float:
            return Random(seed_of(seed, purpose, index)).random()

        goodput_bps = None
        if self.goodput is not None:
            curve = _curve(self._path(self.goodput), "kbps", _KBIT)
            goodput_bps = _quantile(curve, share("population goodput"))
        if self.sample is not None:
            curve = _curve(self._path(self.sample), "sample_ms", _MS)
            sample_s = _quantile(curve, share("population member"))
            name = f"{sample_s / _MS:.1f} ms"
            return _Member(name=name, sample_s=sample_s, goodput_bps=goodput_bps)
        assert self.devices is not None
        listed = _listed(self._path(self.devices))
        one = listed[int(share("population member") * len(listed))]
        return _Member(
            name=one.name, sample_s=one.sample_s, ram_bytes=one.ram_bytes, goodput_bps=goodput_bps
        )

    def _device(self, drawn: _Member) -> Device:
        origin = self.devices or self.sample
        assert origin is not None
        known = {"kind": origin.kind, "source": origin.source, "log_sd": origin.log_sd}
        ram = self.ram
        if drawn.ram_bytes is not None:
            ram = Amount.model_validate({"value": f"{drawn.ram_bytes!r} B", **known})
        assert ram is not None
        radio = None
        if drawn.goodput_bps is not None and self.goodput is not None:
            air = {k: getattr(self.goodput, k) for k in ("kind", "source", "log_sd")}
            radio = RadioRate.model_validate({"value": f"{drawn.goodput_bps!r} bit/s", **air})
        return Device(
            name=f"{self.name}/{drawn.name}",
            description=self.description,
            stack=self.stack,
            ram=ram,
            cost=PerSample(
                kind="per_sample",
                sample=Time.model_validate({"value": f"{drawn.sample_s!r} s", **known}),
                training=self.training,
            ),
            memory_rate=self.memory_rate,
            radio=radio,
            access=self.access,
            variation=self.variation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One draw."""

    name: str
    sample_s: float
    ram_bytes: float | None = None
    goodput_bps: float | None = None


Curve = tuple[list[float], list[float]]


def _quantile(curve: Curve, share: float) -> float:
    """The value below which a share lies; the outermost quantiles beyond them."""
    shares, values = curve
    at = bisect_right(shares, share)
    if at in (0, len(shares)):
        return values[max(at - 1, 0)]
    part = (share - shares[at - 1]) / (shares[at] - shares[at - 1])
    return exp(log(values[at - 1]) * (1 - part) + log(values[at]) * part)


@lru_cache
def _curve(path: Path, column: str, unit: float) -> Curve:
    rows = _rows(path, ("quantile", column))
    shares = [_number(path, line, row["quantile"]) for line, row in rows]
    values = [_number(path, line, row[column]) * unit for line, row in rows]
    if shares != sorted(set(shares)) or not 0 <= shares[0] <= shares[-1] <= 1:
        raise CostError(f"{path}: quantiles that do not rise from 0 to 1; sort them")
    if values != sorted(values):
        raise CostError(f"{path}: values that fall from one quantile to the next; sort them")
    return shares, values


@lru_cache
def _listed(path: Path) -> list[_Member]:
    return [
        _Member(
            name=str(row["device"]),
            sample_s=_number(path, line, row["sample_ms"]) * _MS,
            ram_bytes=_number(path, line, row["ram_gb"]) * _GB,
        )
        for line, row in _rows(path, ("device", "sample_ms", "ram_gb"))
    ]


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows and their lines.

    Raises:
        CostError: it cannot be read, is empty, or lacks a column.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise CostError(f"{path}: {reason}; give the file beside the population's") from error
    kept = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    rows = DictReader([line for _, line in kept])
    found = [(n, row) for (n, _), row in zip(kept[1:], rows, strict=False)]
    missing = [c for c in columns if c not in (rows.fieldnames or ())]
    if missing or not found:
        what = f"no column {missing[0]}" if missing else "no row"
        raise CostError(f"{path}: {what}; give {', '.join(columns)} and a line for each")
    return found


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise CostError(f"{path}:{line}: '{text}' is no number above 0")
    return number
