import pytest
from hypothesis import given
from hypothesis import strategies as st

from simfl.units import EXAMPLES, UNITS, exact, parse, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("20 Mbit/s", "rate", 20e6),
        ("20MB/s", "rate", 160e6),
        ("1 MiB/s", "rate", 8 * 2**20),
        ("1 kbit/s", "rate", 1e3),
        ("5 ms", "time", 0.005),
        ("  1e3 us ", "time", 0.001),
        ("45.636 ns", "time", 45.636e-9),
        ("3 h", "time", 10_800),
        ("2 min", "time", 120),
        ("1 MB", "size", 1e6),
        ("1 MiB", "size", 2**20),
        ("1_000 B", "size", 1000),
        ("1.02 Gflop/s", "compute", 1.02e9),
        ("2550 MB/s", "throughput", 2.55e9),
    ],
)
def test_parse(text: str, dimension: str, value: float) -> None:
    assert parse(text, dimension) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("number", [1, 3, 7, 14.368, 20, 450])
def test_small_units_round_once(unit: str, number: float) -> None:
    # as Python reads the decimal, not a product of two rounded numbers
    exponent = {"ns": -9, "us": -6, "ms": -3}[unit]
    assert parse(f"{number} {unit}", "time") == float(f"{number}e{exponent}")


def test_megabit_mebibyte_and_megabyte_differ() -> None:
    assert parse("8 Mbit/s", "rate") == parse("1 MB/s", "rate") == 8e6
    assert parse("1 MiB", "size") / parse("1 MB", "size") == 1.048576


@pytest.mark.parametrize(
    ("value", "dimension", "message"),
    [
        (20, "rate", "20 has no unit; write a rate with its unit, e.g. '20 Mbit/s'"),
        (True, "time", "True has no unit; write a time with its unit, e.g. '5 ms'"),
        (None, "size", "None has no unit; write a size with its unit, e.g. '1 MiB'"),
        ("20", "rate", "'20' has no unit; write a rate with its unit, e.g. '20 Mbit/s'"),
        ("fast", "rate", "'fast' is not a rate; write a number and a unit, e.g. '20 Mbit/s'"),
        ("", "time", "'' is not a time; write a number and a unit, e.g. '5 ms'"),
        ("5 MiB", "time", "'MiB' is no unit of time; use one of ns, us, ms, s, min, h, d"),
        ("5 Mibit/s", "rate", "'Mibit/s' is no unit of rate; use one of bit/s, kbit/s, "),
        ("5 mb", "size", "'mb' is no unit of size; use one of B, kB, "),
        ("1 Mbit", "size", "'Mbit' is no unit of size; use one of B, kB, "),
    ],
)
def test_what_is_refused(value: object, dimension: str, message: str) -> None:
    with pytest.raises(ValueError, match="unit") as error:
        parse(value, dimension)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("dimension", UNITS)
def test_the_examples_parse(dimension: str) -> None:
    assert parse(EXAMPLES[dimension], dimension) > 0


@given(
    st.sampled_from(sorted(UNITS)),
    st.floats(0, 1e250) | st.integers(0, 10**15).map(float),
)
def test_exact_is_read_back_to_the_last_bit(dimension: str, value: float) -> None:
    assert parse(exact(value, dimension), dimension) == value


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0 ms"), (0.0123, "12.3 ms"), (71.2, "71.2 s"), (600, "10 min"), (7199, "2 h 00 min")],
)
def test_show_seconds(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("nbytes", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (3 << 29, "1.50 GiB")]
)
def test_show_bytes(nbytes: float, shown: str) -> None:
    assert show_bytes(nbytes) == shown
