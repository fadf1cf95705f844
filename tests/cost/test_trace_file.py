from pathlib import Path

import pytest

from simfl.cost.trace_file import read_trace
from simfl.errors import CostError

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT.parent / "shared" / "devices" / "traces" / "mbps_1hz"


def written(folder: Path, text: str, name: str = "trace.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_text(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "# s, Mbit/s\n5.0\t2.5\n6.5 1\n\n8.0\t0\n"))
    assert list(trace.times_s) == [0.0, 1.5, 3.0]
    assert list(trace.rates_bps) == [2.5e6, 1e6, 0.0]
    # the last rate holds for a usual step
    assert trace.period_s == 4.5
    assert read_trace(written(tmp_path, "0 1\n"), wrap=False).period_s is None


@pytest.mark.parametrize(
    ("header", "second", "bit"),
    [
        ("seconds,mbit_s", 1.0, 1e6),
        ("time_ms,rate_kbit_s", 1e-3, 1e3),
        ("t (s),throughput (Mbit/s)", 1.0, 1e6),
        ("bps,milliseconds", 1e-3, 1.0),
        ("time_s,note,rate_gbps", 1.0, 1e9),
    ],
)
def test_csv_by_the_units_in_its_header(
    tmp_path: Path, header: str, second: float, bit: float
) -> None:
    columns = header.split(",")
    time = next(i for i, name in enumerate(columns) if "s" in name and "b" not in name)
    rows = []
    for seconds, rate in ((0, 3), (2, 4)):
        row = ["7"] * len(columns)
        row[-1 if time == 0 else 0], row[time] = str(rate), str(seconds)
        rows.append(",".join(row))
    trace = read_trace(written(tmp_path, "\n".join([header, *rows]), "trace.csv"))
    assert list(trace.times_s) == pytest.approx([0.0, 2 * second])
    assert list(trace.rates_bps) == pytest.approx([3 * bit, 4 * bit])


def test_mahimahi_counts_packets_in_windows(tmp_path: Path) -> None:
    times = [0, 1, 100, 101, 101, 450]
    trace = read_trace(written(tmp_path, "".join(f"{t}\n" for t in times), "a.up"))
    # (0, 100]: 3 (with that at 0), (100, 200]: 2, then silence, (400, 450]: 1 in half a window
    packet = 1500 * 8
    assert list(trace.times_s) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert list(trace.rates_bps) == pytest.approx([30 * packet, 20 * packet, 0, 0, 20 * packet])
    assert trace.period_s == 0.45
    wide = read_trace(tmp_path / "a.up", "mahimahi", window_s=0.45)
    assert list(wide.rates_bps) == pytest.approx([6 * packet / 0.45])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "a.txt:1: empty; give a line of seconds and Mbit/s per change of rate"),
        ("a.txt", "# nothing\n", "a.txt:1: empty; "),
        ("a.txt", "0 5\n1 nan\n", "a.txt:2: a rate of nan; mend or remove the line"),
        ("a.txt", "0 5\ninf 5\n", "a.txt:2: a time of inf; "),
        ("a.txt", "0 5\n1 -2\n", "a.txt:2: a rate of -2; "),
        ("a.txt", "0 5\n1 x\n", "a.txt:2: 'x' is no rate; give a number"),
        ("a.txt", "0 0\n1 0\n", "a.txt:2: every rate is 0; nothing would ever arrive"),
        (
            "a.txt",
            "0 5\n1 5\n2\n",
            "a.txt:3: '2' where seconds and Mbit/s are due; is the file",
        ),
        ("a.txt", "0 5\n2 5\n1 5\n", "a.txt:3: not after the line before; sort the file by time"),
        ("a.txt", "0 5\n0 5\n", "a.txt:2: not after the line before"),
        ("a.txt", "0 5\n1 5\n2 5\n9 5\n", "a.txt:4: a hole of 7 s; fill it, or say longest_gap: 7"),
        ("a.csv", "time,rate\n0,5\n", "a.csv:1: 0 columns of time and 0 of rates have a unit"),
        ("a.csv", "s,ms,mbps\n0,0,5\n", "a.csv:1: 2 columns of time and 1 of rates have a unit"),
        ("a.csv", "s,mbps\n0,5\n1\n", "a.csv:3: '1' where the header names 2 columns; is the file"),
        ("a.csv", "s,mbps\n", "a.csv:1: a header and nothing below it"),
        ("a.up", "1\n2\n1.5\n", "a.up:3: '1.5' is no whole millisecond"),
        ("a.up", "3\n2\n", "a.up:2: before the line above; sort"),
        ("a.up", "0\n0\n", "a.up:2: ends at 0 ms; nothing says how long it lasts"),
    ],
)
def test_a_file_that_is_no_course_of_rates(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(CostError) as error:
        read_trace(written(tmp_path, text, name))
    assert str(error.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CostError, match=r"none\.txt: No such file or directory; give a file"):
        read_trace(tmp_path / "none.txt")


def test_an_outage_at_the_end_must_end(tmp_path: Path) -> None:
    path = written(tmp_path, "0 5\n1 0\n")
    assert read_trace(path).rate_at(2.0) == 5e6
    with pytest.raises(CostError, match=r"trace\.txt:2: ends in an outage, for ever; say wrap"):
        read_trace(path, wrap=False)


def test_what_is_a_hole(tmp_path: Path) -> None:
    # a schedule of a few steps has none
    assert read_trace(written(tmp_path, "0 10\n5 2\n60 10\n")).times_s == (0.0, 5.0, 60.0)
    # steps that vary may vary by 30 times, and a person may allow more
    uneven = "0 1\n1 1\n2.5 1\n3 1\n4.2 1\n"
    assert len(read_trace(written(tmp_path, uneven + "34 1\n")).times_s) == 6
    with pytest.raises(CostError, match=r"trace\.txt:6: a hole of 40\.8 s"):
        read_trace(written(tmp_path, uneven + "45 1\n"))
    assert len(read_trace(tmp_path / "trace.txt", longest_gap_s=60.0).times_s) == 6


def test_published_traces_are_read() -> None:
    paths = sorted(SAMPLES.glob("*/*.txt"))
    if not paths:
        pytest.skip("the sample traces are not at hand")
    for path in paths:
        rows = [tuple(map(float, line.split())) for line in path.read_text().splitlines() if line]
        trace = read_trace(path)
        assert trace.rate_at(0.0) == rows[0][1] * 1e6
        assert list(trace.rates_bps) == [rate * 1e6 for _, rate in rows]
        assert trace.times_s[-1] == pytest.approx(rows[-1][0] - rows[0][0])
