"""Measured transfers against simulated ones: how far the network model is from real TCP.

A file holds one case a line: links, routes, flows and, of each flow, what was measured. Every case
is played by the event loop, the carriers and the models that carry a run's messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from simpy import Environment

from simfl.cost import wires
from simfl.cost.carriers import carrier
from simfl.cost.rate_trace import RateTrace
from simfl.cost.route import route_of
from simfl.cost.transport import Transport
from simfl.errors import NetworkError
from simfl.events.activity import Activity
from simfl.events.network import Network

REPEATS = 31
"""Flows in a full queue are chaotic; so is what was measured, of which a case tells the median."""


class _Row(BaseModel):
    """Of a case; keys that are not known here are about how it was measured."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=False, allow_inf_nan=False)


class CellRow(_Row):
    """A shared half-duplex medium; station 0 is the access point."""

    srate: list[NonNegativeFloat]
    txop_us: NonNegativeFloat
    agg: PositiveInt


class LinkRow(_Row):
    """One way."""

    name: str
    rate_bps: NonNegativeFloat
    delay_s: NonNegativeFloat
    queue_bytes: NonNegativeFloat
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ovh_bytes: NonNegativeInt = 0
    sched: list[tuple[NonNegativeFloat, NonNegativeFloat]] = []
    aqm: Literal["", "fq_codel"] = ""
    cell: CellRow | None = None

    @model_validator(mode="after")
    def _has_a_rate(self) -> Self:
        if self.cell is None and self.rate_bps == 0:
            raise PydanticCustomError("rate", "a link without a cell needs a positive rate_bps")
        times = [0.0, *(at for at, _ in self.sched)]
        if sorted(set(times)) != times:
            raise PydanticCustomError("sched", "times in sched must rise, and be above 0")
        return self

    def link(self) -> wires.Link:
        """As simfl knows it."""
        cell = trace = None
        if self.cell:
            cell = wires.Cell(
                station_bps=self.cell.srate,
                access_s=self.cell.txop_us * 1e-6,
                aggregation=self.cell.agg,
            )
        if self.sched:
            times, rates = zip((0.0, self.rate_bps), *self.sched, strict=True)
            trace = RateTrace(times, rates)
        return wires.Link(
            name=self.name,
            rate_bps=self.rate_bps,
            latency_s=self.delay_s,
            loss=self.loss,
            queue_bytes=self.queue_bytes,
            discipline=self.aqm or "drop_tail",
            overhead_bytes=self.ovh_bytes,
            trace=trace,
            cell=cell,
        )


class RouteRow(_Row):
    """The links from one host to another; of each cell among them, whose radio is used."""

    src: NonNegativeInt
    dst: NonNegativeInt
    links: Annotated[list[NonNegativeInt], Field(min_length=1)]
    cell_station: list[NonNegativeInt] = []


class MeasuredRow(_Row):
    """Over the repetitions."""

    median: PositiveFloat


class FlowRow(_Row):
    """A transfer; ``start`` counts from the end of flow ``dep``, if there is one."""

    src: NonNegativeInt
    dst: NonNegativeInt
    size: NonNegativeInt
    start: NonNegativeFloat = 0.0
    warm: bool = True
    dep: int = -1
    measured_s: MeasuredRow | None = None


class Case(_Row):
    """What was measured at one time on one network."""

    id: str
    family: str
    congestion_control: Literal["cubic", "reno", "bbr"] = "cubic"
    hosts: list[str]
    links: list[LinkRow]
    routes: list[RouteRow]
    flows: Annotated[list[FlowRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _points_at_what_is_there(self) -> Self:
        pairs = {(route.src, route.dst) for route in self.routes}
        for route in self.routes:
            if max(route.src, route.dst) >= len(self.hosts) or max(route.links) >= len(self.links):
                raise PydanticCustomError("route", "a route names a host or a link that is not")
            stations = route.cell_station or [0] * len(route.links)
            if len(stations) != len(route.links):
                raise PydanticCustomError("stations", "cell_station has not one entry a link")
            for link, station in zip(route.links, stations, strict=True):
                cell = self.links[link].cell
                if cell and (station >= len(cell.srate) or not cell.srate[station]):
                    message = f"a route uses station {station} of a cell, which has no rate"
                    raise PydanticCustomError("station", message)
        for number, flow in enumerate(self.flows):
            if not {(flow.src, flow.dst), (flow.dst, flow.src)} <= pairs:
                message = f"flow {number} has no route from {flow.src} to {flow.dst}, or none back"
                raise PydanticCustomError("no_route", message)
            if flow.dep >= number:
                message = f"flow {number} waits for flow {flow.dep}, which does not come before it"
                raise PydanticCustomError("dep", message)
        return self


class CaseWires:
    """The wires of a case; places are the numbers of its hosts."""

    def __init__(self, case: Case) -> None:
        self.links: Sequence[wires.Link] = [row.link() for row in case.links]
        self._hops = {
            (str(route.src), str(route.dst)): tuple(
                wires.Hop(link, station if self.links[link].cell else -1)
                for link, station in zip(
                    route.links, route.cell_station or [-1] * len(route.links), strict=True
                )
            )
            for route in case.routes
        }

    def path(self, source: str, target: str) -> wires.Path | None:
        """None where there is no way there and back."""
        out, back = self._hops.get((source, target)), self._hops.get((target, source))
        return wires.Path(out, back) if out and back else None


def read_cases(path: Path) -> list[Case]:
    """The cases of a file, one JSON object a line.

    Raises:
        NetworkError: there is no such file, or a line is not a case.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise NetworkError(
            f"{path}: cannot be read ({reason}); give a file of JSON lines"
        ) from None
    cases = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            cases.append(Case.model_validate(json.loads(line)))
        except json.JSONDecodeError as error:
            raise NetworkError(
                f"{path}:{number}: no JSON ({error.msg} at column {error.colno}); one case a line"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the case"
            raise NetworkError(f"{path}:{number}: {where}: {first['msg']}") from None
    if not cases:
        raise NetworkError(f"{path}: holds no case; give a file of JSON lines")
    return cases


def play(case: Case, *, seed: int, windows: bool = True) -> list[float]:
    """Seconds of each flow, from its start to its last byte at the receiver, in the case's order.

    Args:
        case: what to play.
        seed: of losses.
        windows: follow congestion windows; else fair shares with slow start in closed form.

    Raises:
        NetworkError: a flow never ends.
    """
    transport = Transport(congestion_control=case.congestion_control, windows=windows)
    ground = CaseWires(case)
    env = Environment()
    network = Network(
        env, carrier(ground, transport, seed=seed, senders=len(case.flows)), verify=True
    )
    took_s = [0.0] * len(case.flows)
    ends = [env.event() for _ in case.flows]

    def one(number: int, flow: FlowRow) -> Activity[None]:
        if flow.dep >= 0:
            yield ends[flow.dep]
        yield env.timeout(flow.start)
        begin_s = env.now
        source, target = str(flow.src), str(flow.dst)
        if not flow.warm:
            path = ground.path(source, target)
            assert path is not None
            yield env.timeout(route_of(ground.links, path, transport).setup_s)
        yield from network.transfer(source, target, flow.size)
        took_s[number] = env.now - begin_s
        ends[number].succeed()

    for number, flow in enumerate(case.flows):
        env.process(one(number, flow))
    env.run()
    for number, end in enumerate(ends):
        if not end.triggered:
            raise NetworkError(
                f"case '{case.id}': flow {number} never ends; its links carry nothing"
            )
    network.uses()
    return took_s


def predict(
    case: Case, *, repeats: int = REPEATS, seed: int = 1, windows: bool = True
) -> list[float]:
    """The median seconds of each flow over so many seeds."""
    runs = [play(case, seed=seed + repeat, windows=windows) for repeat in range(repeats)]
    return [median(times) for times in zip(*runs, strict=True)]


def last_s(case: Case, seconds: Sequence[float]) -> float:
    """When the last flow ends, from the case's start: what a synchronous round waits for."""
    ends: list[float] = []
    for flow, took_s in zip(case.flows, seconds, strict=True):
        ends.append((ends[flow.dep] if flow.dep >= 0 else 0.0) + flow.start + took_s)
    return max(ends)


def errors_of(case: Case, predicted_s: Sequence[float]) -> pd.DataFrame:
    """Relative errors: a row a flow, and one of the last flow (``flow`` -1); none if not measured.

    Columns: ``case``, ``family``, ``flow``, ``measured_s``, ``predicted_s``, ``error``.
    """
    measured_s = [flow.measured_s.median for flow in case.flows if flow.measured_s]
    if len(measured_s) < len(case.flows):
        return pd.DataFrame()
    numbers = [*range(len(measured_s)), -1]
    rows = pd.DataFrame(
        {
            "case": case.id,
            "family": case.family,
            "flow": numbers,
            "measured_s": [*measured_s, last_s(case, measured_s)],
            "predicted_s": [*predicted_s, last_s(case, predicted_s)],
        }
    )
    rows["error"] = rows["predicted_s"] / rows["measured_s"] - 1
    return rows


def write_predictions(
    path: Path, cases: Sequence[Case], predicted: Sequence[Sequence[float]]
) -> None:
    """A JSON line a case: its id, and of each flow the predicted seconds.

    Raises:
        NetworkError: the file cannot be written.
    """
    lines = [
        json.dumps({"id": case.id, "flows": [{"predicted_s": seconds} for seconds in flows]})
        for case, flows in zip(cases, predicted, strict=True)
    ]
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise NetworkError(f"{path}: cannot be written ({error.strerror})") from None


def table_of(cases: Sequence[Case], predicted: Sequence[Sequence[float]]) -> pd.DataFrame:
    """Median and 95th percentile of the absolute errors: per flow and of the last flow of a case.

    Columns: ``family``, ``cases``, ``flows``, ``flow_median``, ``flow_p95``, ``last_median``,
    ``last_p95``; the last row is of the cases with several flows, of all families. Empty where
    nothing was measured.
    """
    found = [errors_of(case, flows) for case, flows in zip(cases, predicted, strict=True)]
    errors = pd.concat(found)
    if errors.empty:
        return errors
    several = errors.groupby("case")["flow"].transform("size") > 2
    groups: Iterable[tuple[str, pd.DataFrame]] = [
        *((str(name), rows) for name, rows in errors.groupby("family")),
        ("several flows", errors[several]),
    ]
    return pd.DataFrame(
        [
            {
                "family": name,
                "cases": rows["case"].nunique(),
                "flows": int((rows["flow"] >= 0).sum()),
                **_spread("flow", rows.loc[rows["flow"] >= 0, "error"]),
                **_spread("last", rows.loc[rows["flow"] < 0, "error"]),
            }
            for name, rows in groups
            if len(rows)
        ]
    )


def _spread(name: str, errors: pd.Series[float]) -> dict[str, float]:
    found = np.abs(errors.to_numpy())
    return {
        f"{name}_median": float(np.median(found)),
        f"{name}_p95": float(np.percentile(found, 95)),
    }
