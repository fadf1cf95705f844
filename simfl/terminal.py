"""What a person sees: the live line, the plan, the report."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from math import isnan
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pandas as pd
import yaml
from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from simfl.cost.wires import SERVER
from simfl.fitting import Fit, planned
from simfl.holdings import show_held
from simfl.memo.disk import Info
from simfl.planning import Tape
from simfl.record import Trace
from simfl.record.summary import Summary, by_device, summarise
from simfl.recording import Progress
from simfl.running import Parts
from simfl.simulation import Listeners, Outcome
from simfl.spreads import show_spreads
from simfl.units import show_bytes, show_joules, show_seconds

_PLAIN_EVERY_S: Final = 10.0
_LINKS: Final = 5
# no table of a report is wider
_WIDE: Final = 200


class Live:
    """The progress of a run: one live line on a terminal, else a line now and then.

    Args:
        console: where it goes.
        quiet: say nothing.
        clock: host seconds, for the host's time per round.
    """

    def __init__(self, console: Console, *, quiet: bool, clock: Callable[[], float]) -> None:
        self._console, self._quiet, self._clock = console, quiet, clock
        self._live: RichLive | None = None
        self._rounds: int | None = None
        self._begun_s = self._said_s = clock()
        self._first_round = self._repeats = 0

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def listeners(self) -> Listeners:
        """For whoever runs."""
        return Listeners(start=self.start, round=self.round, end=self.end, repeat=self.repeat)

    def start(self, parts: Parts) -> None:
        """Say what runs, and on which data."""
        self._rounds = getattr(parts.scenario.protocol.options, "rounds", None)
        if self._quiet:
            return
        show_what(self._console, parts)
        if self._console.is_terminal:
            self._live = RichLive(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
            self._live.update(Text("preparing: data, server pruning"))

    def round(self, now: Progress) -> None:
        """A round ended."""
        at = self._clock()
        if now.round == 0:
            self._begun_s, self._first_round = at, now.round
        if self._quiet:
            return
        if self._live:
            self._live.update(Text(self._line(now, at)))
        elif at - self._said_s >= _PLAIN_EVERY_S:
            self._said_s = at
            self._console.print(self._line(now, at), markup=False)

    def end(self, outcome: Outcome) -> None:
        """Say what was trained, by what, and what was not, since it had been before."""
        if self._live:
            self._live.stop()
            self._live = None
        if self._quiet:
            return
        trained, found = outcome.computed.get("train", 0), outcome.found.get("train", 0)
        told = f"  turns trained: {trained:,}"
        if found:
            told += f"; {found:,} more were recorded already"
        if trained:
            told += f"   executor: {outcome.executor or 'auto'}"
        self._console.print(told, markup=False)

    def repeat(self, _row: dict[str, Any]) -> None:
        """The run was timed in one more world."""
        self._repeats += 1
        at = self._clock()
        if not self._quiet and at - self._said_s >= _PLAIN_EVERY_S:
            self._said_s = at
            self._console.print(f"possible worlds timed: {self._repeats}", markup=False)

    def _line(self, now: Progress, at: float) -> str:
        of = f"/{self._rounds}" if self._rounds else ""
        accuracy = "-" if now.accuracy is None else f"{now.accuracy:.4f}"
        done = now.round - self._first_round
        host = f"{(at - self._begun_s) / done * 1e3:.0f} ms" if done else "-"
        return (
            f"round {now.round}{of}   simulated {show_seconds(now.time_s)}   accuracy {accuracy}   "
            f"sent {show_bytes(now.nbytes)}   host {host}/round"
        )


def show_what(console: Console, parts: Parts) -> None:
    """The scenario in three lines; a data set that stands in for another is said aloud."""
    scenario, problem = parts.scenario, parts.problem
    devices = ", ".join(
        f"{g.count} x {g.model}" for name, g in scenario.platform.devices.items() if name != SERVER
    )
    parameters = problem.parameters
    buffers = problem.layout.size - parameters
    size = f"{parameters:,} parameters" + (f" and {buffers:,} in buffers" if buffers else "")
    model = f"{problem.architecture.name} ({size})"
    console.print(f"[bold]{scenario.name}[/bold]  seed {scenario.seed}")
    if scenario.scaled:
        console.print(f"  [yellow]scaled down: {scenario.scaled}[/yellow]")
    server = scenario.platform.devices.get(SERVER)
    others = f"server {server.model}" if server else f"peers in a {scenario.topology.name}"
    console.print(
        f"  {scenario.learning.algorithm.name} on {model}; {devices}; {others}", markup=False
    )
    for note in parts.notes:
        console.print(f"  device: {note}", markup=False)
    for note in parts.wiring.notes:
        console.print(f"  network: {note}", markup=False)
    data = parts.located
    counts = f"{data.dataset.train_samples:,} + {data.dataset.test_samples:,} samples"
    if data.stands_in:
        console.print(
            f"  [yellow]data: {data.dataset.name} ({counts}) stands in for {data.asked}[/yellow]: "
            f"{data.asked} was not found; give --data-dir for the real thing"
        )
    else:
        console.print(
            f"  data: {data.dataset.name} ({counts}) {data.folder}".rstrip(), markup=False
        )


def show_plan(console: Console, parts: Parts, tape: Tape) -> None:
    """What would run: parameters, bytes per message, simulated seconds of one round."""
    show_what(console, parts)
    initial = tape.initial
    table = Table(
        title="by counting; nothing was trained", title_justify="left", box=None, show_header=False
    )
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    manifest = initial.manifest
    assert manifest is not None, "nobody leaves before the first round that is played"
    table.add_row("parameters", f"{manifest.size:,}")
    if manifest.nonzero < manifest.size:
        table.add_row("  stored after initial pruning", f"{manifest.nonzero:,}")
    between = "among others" if parts.scenario.platform.has_server else "peer to peer"
    for direction, messages in (
        ("down", [t for t in tape.transfers if t.source == SERVER]),
        ("up", [t for t in tape.transfers if t.target == SERVER]),
        (between, [t for t in tape.transfers if SERVER not in (t.source, t.target)]),
    ):
        if messages:
            size = messages[0].nbytes
            table.add_row(f"bytes per message, {direction}", f"{size:,} ({show_bytes(size)})")
    if initial.end_s:
        table.add_row("before the first round", f"{initial.end_s:.1f} s")
    if tape.guessed:
        table.add_row("  what a client prunes, only a run tells: up is", "as if it pruned nothing")
    table.add_row("one round", f"{tape.computation_s + tape.communication_s:.3f} s")
    slowest = tape.slowest
    who = f"computing, the slowest ({slowest.node})" if slowest else "computing: nobody trained yet"
    table.add_row(f"  {who}", f"{tape.computation_s:.3f} s")
    table.add_row("  the rest of it: network, waiting", f"{tape.communication_s:.3f} s")
    for fit in planned(parts, manifest):
        table.add_row(f"memory to train on {fit.device}", _memory(fit))
    console.print(table)
    show_held(console, parts.problem.held)


def _memory(fit: Fit) -> str:
    lacks = "" if fit.whole else ", without system and framework"
    return f"{show_bytes(fit.needed_bytes)} of {show_bytes(fit.ram_bytes)}{lacks}"


def show_report(console: Console, trace: Trace) -> None:
    """The summary of a trace."""
    summary, data = summarise(trace), trace.dataset
    scenario = yaml.safe_load(trace.scenario)
    draw = scenario["platform"]["variation"]["draw"]
    seeds = f"seed {scenario['seed']}" + (f"  draw {draw}" if draw else "")
    console.print(f"[bold]{scenario['name']}[/bold]  {seeds}   {trace.status}")
    if scenario.get("scaled"):
        console.print(f"  [yellow]scaled down: {scenario['scaled']}[/yellow]")
    if data["stands_in"]:
        console.print(f"  [yellow]data: {data['name']} stood in for {data['asked']}[/yellow]")
    else:
        console.print(f"  data: {data['name']}")
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    if summary.target is not None:
        held = f" in {summary.consecutive} evaluations" if summary.consecutive > 1 else ""
        when = "never"
        if summary.target_round is not None:
            when = f"{_seconds(summary.target_s)}, round {summary.target_round}"
        table.add_row(f"time to accuracy {summary.target:g}{held}", when)
    if not isnan(summary.accuracy):
        scores = f"{summary.accuracy:.4f} ({summary.best_accuracy:.4f})"
        mean = ", mean of the peers" if summary.peers else ""
        table.add_row(f"accuracy, last (best){mean}", scores)
    table.add_row("parameters", f"{summary.size:,}")
    if 0 < summary.nonzero < summary.size:
        share = f"{summary.nonzero / summary.size:.2%}"
        table.add_row("  stored at the end", f"{summary.nonzero:,} ({share})")
    table.add_row("rounds", f"{summary.rounds:,}")
    table.add_row("simulated time", _seconds(summary.time_s))
    if summary.preparation_s:
        table.add_row("  before the first round", _seconds(summary.preparation_s))
    if summary.rounds:
        rest_s = summary.round_s - summary.round_compute_s
        table.add_row("  mean round", f"{summary.round_s:.3f} s")
        slowest = "peer" if summary.peers else "client"
        if not isnan(rest_s):
            table.add_row(
                f"    computing, the slowest {slowest}", f"{summary.round_compute_s:.3f} s"
            )
            table.add_row("    network and waiting", f"{rest_s:.3f} s")
    if summary.away_s:
        table.add_row("somebody was away, all together", _seconds(summary.away_s))
    if summary.cut_turns:
        table.add_row("turns that were cut short", f"{summary.cut_turns:,}")
    if summary.lost_messages:
        table.add_row("messages that never arrived", f"{summary.lost_messages:,}")
    up = summary.up_bytes, summary.last_up_bytes
    down = summary.down_bytes, summary.last_down_bytes
    ways = [("peer to peer", *up)] if summary.peers else [("down", *down), ("up", *up)]
    for way, total, last in ways:
        table.add_row(f"bytes {way}", f"{show_bytes(total)}, the last message {last:,} B")
    for name, value in _energy(summary, complete=trace.complete):
        table.add_row(name, value)
    console.print(table)
    devices = Table(box=None)
    found = by_device(trace)
    batteries = bool(found["battery"].notna().any())
    heads = ["role", "device", "nodes", "computing, each", "sent", "received", "energy, each"]
    for column in (*heads, *(["of its battery"] if batteries else [])):
        devices.add_column(column, justify="left" if column in ("role", "device") else "right")
    for row in found.itertuples():
        joules, battery = float(row.joules), float(row.battery)  # type: ignore[arg-type]
        devices.add_row(
            str(row.role),
            str(row.device),
            str(row.nodes),
            show_seconds(float(row.busy_s)),  # type: ignore[arg-type]
            show_bytes(float(row.sent_bytes)),  # type: ignore[arg-type]
            show_bytes(float(row.received_bytes)),  # type: ignore[arg-type]
            "-" if isnan(joules) else show_joules(joules),
            *(["-" if isnan(battery) else f"{battery:.1%}"] if batteries else []),
        )
    console.print(devices)
    show_spreads(console, trace, summary)
    if len(trace.links):
        console.print(_busiest(trace.links))
    console.print(f"  trace: {trace.path}", markup=False)
    if trace.status in ("running", "interrupted"):
        console.print(f"  unfinished; go on with: simfl resume {trace.path}", markup=False)


def report_text(trace: Trace) -> str:
    """The same as text, for who has no terminal."""
    written = StringIO()
    show_report(Console(file=written, width=_WIDE, highlight=False, soft_wrap=True), trace)
    return written.getvalue()


def _energy(summary: Summary, *, complete: bool) -> list[tuple[str, str]]:
    """Joules, and what is not known of them."""
    who = "peers" if summary.peers else "clients"
    if not complete:
        rows = [(f"energy of the {who}", "told at the end of a run")]
    elif isnan(summary.joules):
        rows = [(f"energy of the {who}", "unknown: a device lacks watts, idle or busy")]
    else:
        lacks = ", and radios unknown" if summary.radio_missing else ""
        rows = [(f"energy of the {who}", f"{show_joules(summary.joules)}{lacks}")]
        if summary.target is not None:
            reached = summary.target_round is not None
            text = show_joules(summary.target_joules) if reached else "never"
            rows.append((f"  to accuracy {summary.target:g}", text))
    if not isnan(summary.server_joules):
        rows.append(("energy of the server", show_joules(summary.server_joules)))
    return rows


def _busiest(links: pd.DataFrame) -> Table:
    """The links that were used the most, by their share of what they could have carried."""
    table = Table(box=None)
    for column in ("busiest links", "busy", "carried"):
        table.add_column(column, justify="left" if column == "busiest links" else "right")
    for row in links.nlargest(_LINKS, "busy").itertuples():
        amount = float(row.used)  # type: ignore[arg-type]
        carried = show_seconds(amount) + " of air" if row.unit == "s" else show_bytes(amount / 8)
        table.add_row(Text(str(row.link)), f"{row.busy:.1%}", carried)
    return table


def _seconds(seconds: float) -> str:
    """Seconds, and from ten minutes on what that is in hours and minutes."""
    plain = f"{seconds:,.1f} s"
    return plain if seconds < 600 else f"{plain} ({show_seconds(seconds)})"


def show_store(console: Console, folder: Path, info: Info) -> None:
    """What a store holds."""
    table = Table(title=str(folder), title_justify="left", box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, results in info.families:
        table.add_row(Text(label), f"{results:,} results")
    room = f"{show_bytes(info.value_bytes)} of {show_bytes(info.limit_bytes)}"
    table.add_row("values kept", f"{info.values:,}, {room}")
    table.add_row("index", show_bytes(info.index_bytes))
    console.print(table)


def show_verification(console: Console, families: pd.DataFrame) -> None:
    """Errors by family: median and 95th percentile, per flow and of the last flow to end."""
    if families.empty:
        console.print("  nothing was measured in this file: predictions only")
        return
    table = Table(box=None, title="absolute error: median / 95th percentile", title_justify="left")
    table.add_column("family")
    for head in ("cases", "flows", "per flow", "last flow"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in families.itertuples():
        each = f"{row.flow_median:.1%} / {row.flow_p95:.1%}"
        last = f"{row.last_median:.1%} / {row.last_p95:.1%}"
        table.add_row(str(row.family), f"{row.cases}", f"{row.flows:,}", each, last)
    console.print(table)
