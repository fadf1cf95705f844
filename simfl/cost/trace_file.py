"""Files of rates over time: text, CSV and Mahimahi packet deliveries become a `RateTrace`.

``text``: ``seconds<space or tab>Mbit/s`` a line, as in the FCC, Norway, Oboe and Puffer sets that
Pensieve made common (Mao et al., SIGCOMM 2017). ``csv``: a header that names the units of a time
and of a rate. ``mahimahi``: an integer a line, the millisecond at which a packet of 1,500 bytes may
leave (Netravali et al., USENIX ATC 2015); packets are counted in windows, and silence is a rate of
0. Of the first two, a rate holds from its time on, the first time is moved to 0, and the last rate
holds for a usual (the median) step. Blank lines and lines that begin with # are skipped.

A file has a *hole* where a step is longer than 30 times the median one; where all steps but a
twentieth (or one) are equal to 0.1 %, longer than 2.5 times. Below four lines there is no telling.
(The longest step in a published set, Puffer's, is 27.5 times the median.) A hole is an error
unless ``longest_gap_s`` allows it.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, isfinite
from pathlib import Path
from statistics import median_low
from typing import Final, Literal, NamedTuple

from simfl.cost.rate_trace import RateTrace
from simfl.errors import CostError

Format = Literal["text", "csv", "mahimahi"]

# what one line of a Mahimahi file lets pass: mahimahi's packet size, an Ethernet MTU
_PACKET_BYTES: Final = 1500
WINDOW_S: Final = 0.1
_MBIT: Final = 1e6
_RATE_UNITS: Final = {
    f"{prefix}{unit}": factor
    for prefix, factor in {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}.items()
    for unit in ("bit_s", "bits_s", "bps")
}
_TIME_UNITS: Final = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
_HEADER: Final = "write a header such as seconds,mbit_s"
_HOLE: Final = 30.0
_HOLE_IF_REGULAR: Final = 2.5
_FEWEST_STEPS: Final = 3


class _Row(NamedTuple):
    """A time and a rate, and the line they stand on."""

    line: int
    time_s: float
    rate_bps: float


def read_trace(
    path: Path,
    format: Format | None = None,
    *,
    wrap: bool = True,
    window_s: float = WINDOW_S,
    longest_gap_s: float | None = None,
) -> RateTrace:
    """Read a file of rates.

    Args:
        path: the file.
        format: as above; None: by the ending ``.csv``, else by the first line.
        wrap: start again at the end; else the last rate stays.
        window_s: over which packets are counted (``mahimahi``).
        longest_gap_s: a longer step is a hole; None: as above.

    Raises:
        CostError: what is wrong, with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise CostError(f"{path}: {reason}; give a file of rates over time") from error
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise CostError(f"{path}:1: empty; give a line of seconds and Mbit/s per change of rate")
    format = format or _format(path, lines[0][1])
    if format == "mahimahi":
        return _deliveries(path, lines, wrap=wrap, window_s=window_s)
    rows = list(_text(path, lines) if format == "text" else _csv(path, lines))
    _check(path, rows, longest_gap_s)
    return _trace(path, rows, wrap=wrap)


def _format(path: Path, first: str) -> Format:
    if path.suffix.lower() == ".csv" or "," in first:
        return "csv"
    return "mahimahi" if len(first.split()) == 1 else "text"


def _text(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[_Row]:
    for number, line in lines:
        fields = line.split()
        if len(fields) != 2:
            raise CostError(
                f"{path}:{number}: '{line.strip()}' where seconds and Mbit/s are due; is the file "
                "cut off, or of another format?"
            )
        time_s = _number(path, number, fields[0], "time")
        yield _Row(number, time_s, _MBIT * _number(path, number, fields[1], "rate"))


def _csv(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[_Row]:
    number, header = lines[0]
    names = [
        re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in next(csv.reader([header]))
    ]
    rates = {i: unit for i, name in enumerate(names) if (unit := _unit(name, _RATE_UNITS))}
    times = {
        i: unit
        for i, name in enumerate(names)
        if i not in rates and (unit := _unit(name, _TIME_UNITS))
    }
    if len(times) != 1 or len(rates) != 1:
        found = f"{len(times)} columns of time and {len(rates)} of rates"
        raise CostError(f"{path}:{number}: {found} have a unit in their names; {_HEADER}")
    [(time, second)], [(rate, bit)] = times.items(), rates.items()
    for number, line in lines[1:]:
        fields = next(csv.reader([line]))
        if len(fields) != len(names):
            raise CostError(
                f"{path}:{number}: '{line}' where the header names {len(names)} columns; is the "
                "file cut off?"
            )
        time_s = second * _number(path, number, fields[time], "time")
        yield _Row(number, time_s, bit * _number(path, number, fields[rate], "rate"))


def _unit(name: str, units: dict[str, float]) -> float | None:
    """The factor of the unit that a column's name is, or ends in."""
    found = [factor for unit, factor in units.items() if f"_{name}".endswith(f"_{unit}")]
    return found[0] if found else None


def _number(path: Path, line: int, text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise CostError(f"{path}:{line}: '{text.strip()}' is no {what}; give a number") from None
    if not isfinite(value) or value < 0:
        raise CostError(
            f"{path}:{line}: a {what} of {text.strip()}; mend or remove the line (0 is an outage)"
        )
    return value


def _check(path: Path, rows: Sequence[_Row], longest_gap_s: float | None) -> None:
    """Refuse what is no course of rates.

    Raises:
        CostError: no rows, a time that does not ascend, a hole, or never a rate above 0.
    """
    if not rows:
        raise CostError(f"{path}:1: a header and nothing below it; add a line per change of rate")
    steps = [(row.line, row.time_s - last.time_s) for last, row in itertools.pairwise(rows)]
    for line, step in steps:
        if step <= 0:
            raise CostError(f"{path}:{line}: not after the line before; sort the file by time")
    limit = longest_gap_s or _longest([step for _, step in steps])
    for line, step in steps:
        if step > limit:
            raise CostError(
                f"{path}:{line}: a hole of {step:g} s; fill it, or say longest_gap: {step:g} s if "
                "the rate before it held on"
            )
    if not any(row.rate_bps for row in rows):
        raise CostError(f"{path}:{rows[-1].line}: every rate is 0; nothing would ever arrive")


def _longest(steps: Sequence[float]) -> float:
    """The longest step that is no hole."""
    if len(steps) < _FEWEST_STEPS:
        return float("inf")
    usual = median_low(steps)
    others = sum(abs(step - usual) > 1e-3 * usual for step in steps)
    regular = others <= max(1, len(steps) // 20)
    return (_HOLE_IF_REGULAR if regular else _HOLE) * usual


def _trace(path: Path, rows: Sequence[_Row], *, wrap: bool) -> RateTrace:
    times = tuple(row.time_s - rows[0].time_s for row in rows)
    rates = tuple(row.rate_bps for row in rows)
    if len(rows) == 1:
        return RateTrace(times, rates)
    if not wrap and not rates[-1]:
        raise CostError(
            f"{path}:{rows[-1].line}: ends in an outage, for ever; say wrap: true, or add a line"
        )
    usual = median_low([after - before for before, after in itertools.pairwise(times)])
    return RateTrace(times, rates, period_s=times[-1] + usual if wrap else None)


def _deliveries(
    path: Path, lines: Sequence[tuple[int, str]], *, wrap: bool, window_s: float
) -> RateTrace:
    """Packets to rates: those in (start, end] of a window, over its length.

    As in Mahimahi the last time is the length of the file, and the last window may be shorter.
    """
    times = []
    for line, text in lines:
        if not text.strip().isdecimal():
            raise CostError(
                f"{path}:{line}: '{text.strip()}' is no whole millisecond; a Mahimahi file has one "
                "a line"
            )
        times.append(int(text))
        if len(times) > 1 and times[-1] < times[-2]:
            raise CostError(f"{path}:{line}: before the line above; sort the file by time")
    length_s = times[-1] / 1e3
    if not length_s:
        raise CostError(f"{path}:{lines[-1][0]}: ends at 0 ms; nothing says how long it lasts")
    # to the nanosecond, so that a time on a window's edge is of the window that it ends
    windows = ceil(round(length_s / window_s, 9))
    packets = Counter(max(ceil(round(time / 1e3 / window_s, 9)) - 1, 0) for time in times)
    starts = [index * window_s for index in range(windows)]
    ends = [*starts[1:], length_s]
    rates = tuple(
        packets[index] * 8 * _PACKET_BYTES / (end - start)
        for index, (start, end) in enumerate(zip(starts, ends, strict=True))
    )
    return RateTrace(tuple(starts), rates, period_s=length_s if wrap else None)
