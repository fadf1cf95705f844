"""Quantities with units: what a person writes, in SI base units inside.

A scenario or device file writes every dimensional value as text with its unit; a bare number is an
error. Bits are for rates only. ``Mbit`` is 10^6 bits and ``MiB`` is 2^20 bytes: never the same.
"""

import re
from math import isfinite
from typing import Final, NewType

Seconds = NewType("Seconds", float)
Bytes = NewType("Bytes", int)
BitsPerSecond = NewType("BitsPerSecond", float)

_SI: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_IEC: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}

UNITS: Final[dict[str, dict[str, float]]] = {
    "time": {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "rate": {f"{p}bit/s": f for p, f in _SI.items()}
    | {f"{p}B/s": 8 * f for p, f in (_SI | _IEC).items()},
    "size": {f"{p}B": f for p, f in (_SI | _IEC).items()},
    "compute": {f"{p}flop/s": f for p, f in _SI.items()},
    "throughput": {f"{p}B/s": f for p, f in (_SI | _IEC).items()},  # bytes per second
    "power": {"uW": 1e-6, "mW": 1e-3, "W": 1.0, "kW": 1e3},
    "energy": {"mJ": 1e-3, "J": 1.0, "kJ": 1e3, "mWh": 3.6, "Wh": 3600.0, "kWh": 3.6e6},
}
WORDS: Final = {"compute": "computing rate"}
"""What a person calls a dimension, where that is not its key in `UNITS`."""
EXAMPLES: Final = {
    "time": "5 ms",
    "rate": "20 Mbit/s",
    "size": "1 MiB",
    "compute": "1.02 Gflop/s",
    "throughput": "2550 MB/s",
    "power": "3.5 W",
    "energy": "11 Wh",
}
_NUMBER: Final = r"[-+]?[0-9]+(?:_[0-9]+)*\.?[0-9]*(?:[eE][-+]?[0-9]+)?"
_QUANTITY: Final = re.compile(rf"\s*({_NUMBER})\s*(\S*)\s*")


def parse(text: object, dimension: str) -> float:
    """Read a quantity, in SI base units: seconds, bits per second, bytes, watts...

    Args:
        text: a number and a unit, such as ``"20 Mbit/s"``.
        dimension: a key of `UNITS`.

    Raises:
        ValueError: not text, no number, no unit or a unit of another dimension.

    >>> parse("20 Mbit/s", "rate"), parse("5 ms", "time"), parse("1 MiB", "size")
    (20000000.0, 0.005, 1048576.0)
    """
    units, example = UNITS[dimension], EXAMPLES[dimension]
    word = WORDS.get(dimension, dimension)
    if not isinstance(text, str):
        raise ValueError(f"{text!r} has no unit; write a {word} with its unit, e.g. '{example}'")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a {word}; write a number and a unit, e.g. '{example}'")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"'{text}' has no unit; write a {word} with its unit, e.g. '{example}'")
    if unit not in units:
        raise ValueError(f"'{unit}' is no unit of {word}; use one of {', '.join(units)}")
    # 20 ms is 20 / 1000 exactly rounded, where 20 * 1e-3 may miss the nearest float
    if not isfinite(float(number)):
        raise ValueError(f"'{text}' is out of range; give a finite {word}")
    factor = units[unit]
    return float(number) / round(1 / factor) if factor < 1 else float(number) * factor


def exact(value: float, dimension: str) -> str:
    """Write a quantity so that `parse` gives back the same float, in the largest fitting unit.

    >>> exact(20e6, "rate"), exact(0.005, "time"), exact(1048576, "size")
    ('20 Mbit/s', '5 ms', '1 MiB')
    """
    units = UNITS[dimension]
    # of a rate in bits first: bytes per second are only read, never written
    order = sorted(
        units.items(), key=lambda item: (dimension == "rate" and "B" in item[0], -item[1])
    )
    for unit, factor in order:
        text = f"{value / factor:.12g} {unit}"
        if value >= factor and "e" not in text and parse(text, dimension) == value:
            return text
    base = next(unit for unit, factor in units.items() if factor == 1.0)
    return f"{value!r} {base}"


def show_seconds(seconds: float) -> str:
    """A time for a person.

    >>> show_seconds(0.0123), show_seconds(71.2), show_seconds(9000)
    ('12.3 ms', '71.2 s', '2 h 30 min')
    """
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 600:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def show_joules(joules: float) -> str:
    """An energy for a person.

    >>> show_joules(3.14159), show_joules(71200), show_joules(9e6)
    ('3.14 J', '71.2 kJ', '9.00 MJ')
    """
    for unit, factor in (("MJ", 1e6), ("kJ", 1e3)):
        if joules >= factor:
            return f"{joules / factor:.3g} {unit}" if joules < 1e6 else f"{joules / factor:.2f} MJ"
    return f"{joules:.3g} J"


def show_bytes(nbytes: float) -> str:
    """A size for a person.

    >>> show_bytes(512), show_bytes(1704326), show_bytes(3.2e9)
    ('512 B', '1.63 MiB', '2.98 GiB')
    """
    for unit, factor in (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.2f} {unit}"
    return f"{nbytes:.0f} B"
