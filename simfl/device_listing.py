"""Device models for a person: a line each, or all the figures of one; nothing heavy is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simfl.cost.break_even import break_evens
from simfl.cost.compact import Compact
from simfl.cost.device import Device
from simfl.cost.evidence import evidence_of, figures
from simfl.cost.figures import Doubtful, Figure
from simfl.cost.fixed import Fixed, Trace
from simfl.cost.linear_nnz import LinearNnz
from simfl.cost.population import Population
from simfl.devices import device_names, load_group, notes
from simfl.units import exact, show_bytes

if TYPE_CHECKING:
    from simfl.fitting import Fit

_NUMBERS: Final = ("device", "training", "inference", "RAM", "idle", "busy")
_WIDEST: Final = 10_000
_LINE: Final = 120
_LEAST: Final = 20


def show_devices(console: Console) -> None:
    """What each packaged device can do, how fast, and how that is known.

    Rates are those of dense products; instead there may be a number of models that were measured.
    """
    groups = [load_group(name) for name in device_names()]
    width = _width(console, _devices(groups, 0))
    # on a terminal, what a device is fills the line; figures are never cut
    room = console.width - width - 2 if console.is_terminal else _WIDEST
    table = _devices(groups, room if room >= _LEAST else 0)
    table.width = _width(console, table)
    console.print(table, crop=False)
    console.print("  all the figures of one and their sources: simfl show DEVICE")


def _devices(groups: list[Device | Population], room: int) -> Table:
    """A line each; what it is in so many columns."""
    table = _table((*_NUMBERS, "evidence"), right=_NUMBERS[1:])
    if room:
        table.add_column("what it is", no_wrap=True, overflow="ellipsis", max_width=room)
    for found in groups:
        what = [Text(f"{found.description}; {found.stack}")] if room else []
        table.add_row(Text(found.name, "bold"), *map(Text, _cells(found)), *what)
    return table


def _width(console: Console, table: Table) -> int:
    """Columns that it takes, whatever there are."""
    return console.measure(table, options=console.options.update(width=_WIDEST)).maximum


def _table(heads: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(box=None)
    for head in heads:
        table.add_column(head, no_wrap=True, justify="right" if head in right else "left")
    return table


def _cells(found: Device | Population) -> tuple[str, ...]:
    ram = exact(found.ram.value, "size") if found.ram else "each its own"
    if isinstance(found, Population):
        return "any model", "any model", ram, "-", "-", _grade(found)
    draw = found.power
    figures = (draw.idle, draw.busy) if draw else (None, None)
    watts = (exact(figure.value, "power") if figure else "-" for figure in figures)
    return *_rates(found), ram, *watts, _grade(found)


def _grade(found: Device | Population) -> str:
    """Worst and best kind; a mark where nothing of it is more than rough."""
    about = evidence_of(found) if isinstance(found, Population) else found.evidence
    rough = isinstance(found, Population) or about.rough
    return about.grade + (", rough" if rough else "")


def _rates(device: Device) -> tuple[str, str]:
    """What it trains at, and infers at; - where nothing is known."""
    cost = device.cost
    if isinstance(cost, LinearNnz):
        return _models(len(cost.models)), "-"
    if isinstance(cost, Fixed | Trace):
        entries = cost.table if isinstance(cost, Fixed) else cost.samples
        found = [{e.model for e in entries if e.passes == p} for p in ("train", "forward")]
        return _models(len(found[0])), _models(len(found[1]))
    if not isinstance(cost, Compact):
        return "any model", "any model"
    shown = [
        exact(kernels.dense_rate.value, "compute") if kernels and kernels.dense_rate else "-"
        for kernels in (cost.train, cost.inference)
    ]
    if cost.inference is None and cost.train is not None:
        shown[1] = "as training"
    return shown[0], shown[1]


def _models(count: int) -> str:
    return "-" if not count else f"{count} model" + ("s" if count > 1 else "")


def show_device(console: Console, name: str) -> None:
    """Every figure of a device with its evidence; then from where on sparse weights pay.

    Raises:
        CostError: no such device, or a wrong file.
    """
    found = load_group(name)
    console.print(Text.assemble((found.name, "bold"), f"  {found.description}"))
    threads = getattr(found, "threads", None)
    on = f", {threads} thread" + ("s" if threads > 1 else "") if threads else ""
    console.print(f"  {found.stack}{on}", markup=False)
    for note in notes([found]):
        console.print(f"  note: {note.partition(': ')[2]}", markup=False)
    table = _table(("figure", "value", "is", "log sd"), right=("value", "log sd"))
    table.add_column("source")
    for keys, figure in figures(found):
        spread = f"{figure.log_sd:g}" if isinstance(figure, Doubtful) else ""
        source = figure.source + (f" ({figure.note})" if figure.note else "")
        cells = (_figure_name(found, keys), _value(figure), figure.kind, spread, source)
        table.add_row(*map(Text, cells))
    table.width = max(console.width, _LINE)
    console.print(table, crop=False)
    if isinstance(found, Device):
        for what, density in break_evens(found).items():
            console.print(f"  sparse pays, {what}: {_below(density)}", markup=False)
        for known in found.infeasible:
            console.print(f"  cannot: {known.model} held {known.storage}; {known.reason}")


def _figure_name(found: Device | Population, keys: tuple[str | int, ...]) -> str:
    """Keys as in the file; an entry of a table by its model instead of its number."""
    cost = getattr(found, "cost", None)
    if isinstance(cost, Fixed | Trace) and keys[0] == "cost":
        entry = (cost.table if isinstance(cost, Fixed) else cost.samples)[int(keys[2])]
        return f"cost.{entry.model}, {entry.passes}, {entry.storage}, batch {entry.batch}"
    return ".".join(map(str, keys))


def _value(figure: Figure) -> str:
    """As it would stand in a file."""
    written = figure.model_dump(mode="json")
    if "values" in written:
        return f"{len(written['values'])} values"
    value = written.get("value", written.get("file", ""))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _below(density: float | None) -> str:
    if density is None:
        return "never"
    return "always" if density >= 1 else f"below a density of {density:.0%}"


def show_fits(console: Console, fits: list[Fit]) -> None:
    """Devices that can hold a computation, and those that cannot."""
    heads = ("device", "fits", "needed", "of", "largest batch", "")
    table = _table(heads, right=("needed", "of", "largest batch"))
    for fit in fits:
        seen = fit.refused and fit.needed_bytes <= fit.ram_bytes
        notes = ["without system and framework: not known"] * (not fit.whole)
        notes += ["no figures for its seconds"] * (not fit.timed)
        table.add_row(
            Text(fit.device, "bold"),
            Text("no", "red") if fit.refused else "yes",
            show_bytes(fit.needed_bytes),
            show_bytes(fit.ram_bytes),
            "-" if seen else f"{fit.largest_batch:,}",
            Text("was seen to fail" if seen else "; ".join(notes)),
        )
    table.width = _width(console, table)
    console.print(table, crop=False)
