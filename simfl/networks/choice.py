"""What a person writes of one link: a preset's name, or its figures, or both; and its making."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from simfl.cost.preset import LinkPreset, load_preset
from simfl.cost.rate_trace import RateTrace
from simfl.cost.trace_file import WINDOW_S, Format, read_trace
from simfl.cost.wires import Cell, Discipline, Link
from simfl.errors import CostError, OptionError
from simfl.keys import seed_of
from simfl.options import Duration, Positive, PositiveDuration, Rate, Shorthand, Size


def _share(value: object) -> object:
    if isinstance(value, str) and value.strip().endswith("%"):
        raise ValueError(f"'{value}' is a percentage; write a share of 1, e.g. 0.001 for 0.1 %")
    return value


Loss = Annotated[float, BeforeValidator(_share), Field(ge=0, lt=1)]
"""A share of packets, below 1."""


class TraceChoice(Shorthand):
    """Rates over time from a file; also by the file's name alone.

    Attributes:
        file: relative to the scenario's folder.
        format: see `simfl.cost.trace_file`; left out, it is found from the file.
        wrap: start again at the end; else the last rate stays.
        shift: where in the file the run begins.
        spread: begin elsewhere for each node, drawn by the seed and the node's name.
        scale: every rate is multiplied by this.
        window: over which a Mahimahi file's packets are counted.
        longest_gap: a longer step is a hole in the file; left out, see `simfl.cost.trace_file`.
    """

    shorthand: ClassVar[str] = "file"

    file: str
    format: Format | None = None
    wrap: bool = True
    shift: Duration = 0.0
    spread: bool = False
    scale: Annotated[float, Field(gt=0)] = 1.0
    window: PositiveDuration = WINDOW_S
    longest_gap: PositiveDuration | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> TraceChoice:
        if self.spread and (self.shift or not self.wrap):
            raise PydanticCustomError("spread", "spread needs wrap: true, and no shift")
        return self

    def read(self, folder: Path) -> RateTrace:
        """The trace, not shifted.

        Raises:
            CostError: the file is wrong.
        """
        trace = read_trace(
            folder / self.file,
            self.format,
            wrap=self.wrap,
            window_s=self.window,
            longest_gap_s=self.longest_gap,
        )
        return trace if self.scale == 1 else trace.scaled(self.scale)

    def shift_s(self, trace: RateTrace, node: str, seed: int) -> float:
        """Where a node's copy begins."""
        if not self.spread:
            return self.shift
        return Random(seed_of(seed, "trace shift", node)).random() * (trace.period_s or 0.0)


class LinkChoice(Shorthand):
    """A link of one node; also by a preset's name alone. What is said goes above the preset.

    Attributes:
        preset: a name from ``simfl list links``, or a YAML file beside the scenario.
        down: rate towards the node, headers included.
        up: rate away from it.
        trace: rates over time instead of ``down``.
        up_trace: the same instead of ``up``.
        phy: a radio's rate while it holds the air, instead of ``down`` and ``up``.
        channel_access: air spent on each channel access.
        aggregation: packets that one channel access carries at most.
        latency: one way.
        jitter: standard deviation of a transfer's extra delay.
        loss: share of packets lost, whatever the load.
        queue: bytes that may wait, each way; left out, without end.
        discipline: how the queue is served.
        overhead_bytes: added to each IP packet below it; left out, Ethernet's header, 14.
    """

    shorthand: ClassVar[str] = "preset"

    preset: str | None = None
    down: Rate | None = None
    up: Rate | None = None
    trace: TraceChoice | None = None
    up_trace: TraceChoice | None = None
    phy: Rate | None = None
    channel_access: Duration | None = None
    aggregation: Positive | None = None
    latency: Duration | None = None
    jitter: Duration | None = None
    loss: Loss | None = None
    queue: Size | None = None
    discipline: Discipline | None = None
    overhead_bytes: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> LinkChoice:
        for rate, trace in (("down", "trace"), ("up", "up_trace")):
            if getattr(self, rate) is not None and getattr(self, trace) is not None:
                message = f"both {rate} and {trace} say the rate; remove one of them"
                raise PydanticCustomError("rates", message)
        return self


_AIR: Final = ("phy", "channel_access", "aggregation")
_WIRE: Final = ("down", "up", "trace", "up_trace")
_BOTH: Final = ("latency", "jitter", "loss", "discipline", "overhead_bytes")


@dataclass(frozen=True)
class Access:
    """One sort of access link, of which each node gets its own.

    Args:
        choice: what was said.
        folder: where files lie.
        option: the key under which it was said, for errors.
    """

    choice: LinkChoice
    folder: Path
    option: str

    @cached_property
    def preset(self) -> LinkPreset | None:
        """The preset, if one is named.

        Raises:
            OptionError: there is none of that name.
        """
        if self.choice.preset is None:
            return None
        try:
            return load_preset(self.choice.preset, self.folder)
        except CostError as error:
            raise OptionError(f"{self.option}.preset", str(error)) from error

    def figure(self, key: str) -> Any:
        """What was said, else the preset's figure, else None."""
        said = getattr(self.choice, key)
        found = getattr(self.preset, key, None)
        return said if said is not None else found.value if found is not None else None

    @cached_property
    def is_air(self) -> bool:
        """A radio, whose one medium goes both ways.

        Raises:
            OptionError: something of a radio and something of a wire.
        """
        said = [key for key in (*_AIR, *_WIRE) if getattr(self.choice, key) is not None]
        air = self.preset.phy is not None if self.preset else any(key in _AIR for key in said)
        for key in said:
            if (key in _AIR) != air:
                other = "a radio, which has phy" if air else "no radio, and has down and up"
                raise OptionError(f"{self.option}.{key}", f"this link is {other}; remove this key")
        return air

    def links(self, node: str, seed: int) -> tuple[Link, Link]:
        """A node's own links, down and up; twice the same, if a radio.

        Raises:
            OptionError: a figure is missing, or a file is wrong.
        """
        if self.is_air:
            cell = self.cell(f"{node} air", [self.station_bps(node)])
            return cell, cell
        down, up = self._templates
        return (
            replace(down, name=f"{node} down", trace=self._shifted("trace", down, node, seed)),
            replace(up, name=f"{node} up", trace=self._shifted("up_trace", up, node, seed)),
        )

    def wire(self, name: str, seed: int) -> tuple[Link, Link]:
        """The two ways of a wire between two places.

        Raises:
            OptionError: a figure is missing, or it is a radio.
        """
        if self.is_air:
            raise OptionError(self.option, "a radio does not join two places; give a wire")
        return self.links(name, seed)

    def station_bps(self, node: str, said: float | None = None) -> float:
        """What a station sends at while it holds the air.

        Raises:
            OptionError: nobody says.
        """
        rate = said if said is not None else self.figure("phy")
        if rate is None:
            raise OptionError(f"{self.option}.phy", f"no rate for station '{node}'; add this key")
        return float(rate)

    def cell(self, name: str, station_bps: list[float]) -> Link:
        """A medium that stations share."""
        cell = Cell(
            station_bps=station_bps,
            access_s=self.figure("channel_access") or 0.0,
            aggregation=self.figure("aggregation") or 1,
        )
        return Link(name=name, rate_bps=max(station_bps), cell=cell, **self._common)

    @cached_property
    def _common(self) -> dict[str, Any]:
        """The fields of a link that both ways have."""
        names = {"latency": "latency_s", "jitter": "jitter_s"}
        found = {names.get(key, key): self.figure(key) for key in _BOTH}
        found["queue_bytes"] = self.figure("queue")
        return {key: value for key, value in found.items() if value is not None}

    @cached_property
    def _templates(self) -> tuple[Link, Link]:
        """Both ways, nameless and not shifted; files are read once."""
        down, up = (
            Link(name="", rate_bps=rate, trace=trace, **self._common)
            for rate, trace in (self._rate("down", "trace"), self._rate("up", "up_trace"))
        )
        return down, up

    def _rate(self, key: str, trace_key: str) -> tuple[float, RateTrace | None]:
        choice = getattr(self.choice, trace_key)
        if choice is None:
            rate = self.figure(key)
            if rate is None:
                raise OptionError(f"{self.option}.{key}", "missing; add this key, or a preset")
            return rate, None
        try:
            trace = choice.read(self.folder)
        except CostError as error:
            raise OptionError(f"{self.option}.{trace_key}", str(error)) from error
        return max(trace.rates_bps), trace

    def _shifted(self, key: str, link: Link, node: str, seed: int) -> RateTrace | None:
        choice = getattr(self.choice, key)
        if link.trace is None or choice is None:
            return None
        return link.trace.shifted(choice.shift_s(link.trace, node, seed))
