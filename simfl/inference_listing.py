"""A network's forward pass on many devices, beside that of the network it was pruned from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simfl.cost.device import Device
from simfl.errors import CostError
from simfl.inference import Inference, Network, answered, answered_sparse
from simfl.units import show_bytes, show_seconds

_WIDEST: Final = 10_000
_COLUMNS: Final = (
    *("device", "which", "model", "batch", "storage", "latency_s", "throughput_per_s"),
    *("memory_bytes", "macs", "parameters", "fits", "note"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One device.

    Attributes:
        before: the network that was pruned; None where nothing is compared.
        after: the network; None where the device has no figures for it.
        sparse: the same, its pruned linear weights held sparse, where the device has figures.
        lacks: why there are no times.
    """

    device: str
    before: Inference | None = None
    after: Inference | None = None
    sparse: Inference | None = None
    lacks: str = ""

    @property
    def note(self) -> str:
        """What should be known of the times."""
        found = self.after
        if found is None:
            return self.lacks
        if not found.fits:
            return "does not fit"
        if self.before is not None and not self.before.fits:
            return "the original does not fit"
        return found.note


def rows_of(
    network: Network, devices: Iterable[Device], *, batch: int, original: Network | None = None
) -> list[Row]:
    """A row for each device."""
    return [_row(network, device, batch, original) for device in devices]


def _row(network: Network, device: Device, batch: int, original: Network | None) -> Row:
    try:
        return Row(
            device=device.name,
            before=None if original is None else answered(original, device, batch=batch),
            after=answered(network, device, batch=batch),
            sparse=answered_sparse(network, device, batch=batch),
        )
    except CostError as error:
        # the device has its column already
        reason = str(error).removeprefix(f"device '{device.name}' ").partition(";")[0]
        return Row(device=device.name, lacks=reason)


def show_networks(console: Console, network: Network, original: Network | None, batch: int) -> None:
    """What is compared."""
    samples = "sample" if batch == 1 else "samples"
    for label, one in (("original", original), ("network", network)):
        if one is not None:
            macs = sum(layer.macs for layer in one.layers)
            console.print(
                f"{label}: {one.name}, {one.parameters:,} parameters, {macs / 1e6:,.3g} M "
                "multiply-accumulates a sample",
                markup=False,
            )
    console.print(f"a forward pass of {batch} {samples} at once", markup=False)


def show_rows(console: Console, rows: Sequence[Row]) -> None:
    """Latency, throughput and memory by device; with an original, both and their ratio."""
    compares = any(row.before is not None for row in rows)
    sparse = any(row.sparse is not None for row in rows)
    table = Table(box=None)
    for head in ("device", *_heads(compares, sparse), ""):
        left = head in ("device", "")
        table.add_column(head, no_wrap=True, justify="left" if left else "right")
    for row in rows:
        cells = _cells(row, compares, sparse)
        note = Text(row.note, "red" if row.note.endswith("does not fit") else "")
        table.add_row(Text(row.device, "bold"), *cells, note)
    wide = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
    table.width = wide
    console.print(table, crop=False)


def _heads(compares: bool, sparse: bool) -> Iterator[str]:
    for head in ("latency", "samples/s", "memory"):
        yield from (f"{head}\noriginal", "\nnetwork", "\ntimes") if compares else (head,)
        if sparse and head == "latency":
            yield "\nsparse" if compares else "sparse"


def _cells(row: Row, compares: bool, sparse: bool) -> Iterator[str]:
    before, after = row.before, row.after
    for name, show in (
        ("latency_s", show_seconds),
        ("throughput_per_s", _rate),
        ("memory_bytes", show_bytes),
    ):
        new = None if after is None else float(getattr(after, name))
        if compares:
            old = None if before is None else float(getattr(before, name))
            yield "-" if old is None else show(old)
            yield "-" if new is None else show(new)
            yield "-" if old is None or new is None else f"{new / old:.2f}"
        else:
            yield "-" if new is None else show(new)
        if sparse and name == "latency_s":
            yield "-" if row.sparse is None else show_seconds(row.sparse.latency_s)


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.3g}"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A line for each network and device, in SI units; without those that have no times."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(_COLUMNS)
        for row in rows:
            pairs = (("original", row.before), ("network", row.after), ("sparse", row.sparse))
            for which, one in pairs:
                if one is not None:
                    lines.writerow((one.device, which, *_values(one)))


def _values(one: Inference) -> Iterator[object]:
    for name in _COLUMNS[2:]:
        value = getattr(one, name)
        yield getattr(value, "value", value)
