"""Links by name: files in which every number has a source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from simfl import resources
from simfl.cost.figures import Figure
from simfl.errors import CostError, ScenarioError, did_you_mean
from simfl.options import Duration, Options, Positive, Rate, Size
from simfl.strict import read

FOLDER: Final = "device_models/links"


class LinkRate(Figure):
    """Bits per second on the wire or, of a radio, while it holds the air."""

    value: Rate


class Delay(Figure):
    """Seconds."""

    value: Duration


class Odds(Figure):
    """A share of packets."""

    value: Annotated[float, Field(ge=0, lt=1)]


class Depth(Figure):
    """Bytes that may wait."""

    value: Size


class Extra(Figure):
    """Bytes added to every packet."""

    value: Annotated[int, Field(ge=0)]


class Count(Figure):
    """How many."""

    value: Positive


class Discipline(Figure):
    """How a queue is served."""

    value: Literal["drop_tail", "fq_codel"]


class LinkPreset(Options):
    """An access link: a rate down and one up, or a radio whose one rate goes both ways.

    Attributes:
        down: towards the client, headers included; with ``up``.
        up: away from it.
        phy: a radio's rate while it holds the air, instead of both; with ``channel_access`` (air
            spent each time, before any bit) and ``aggregation`` (packets each time, at most).
        latency: one way.
        jitter: standard deviation of a transfer's extra delay.
        loss: share of packets lost, whatever the load.
        queue: what may wait in front, each way.
        discipline: how the queue is served.
        overhead_bytes: added to each IP packet below it.
    """

    name: str
    description: str
    down: LinkRate | None = None
    up: LinkRate | None = None
    phy: LinkRate | None = None
    channel_access: Delay | None = None
    aggregation: Count | None = None
    latency: Delay
    jitter: Delay | None = None
    loss: Odds | None = None
    queue: Depth | None = None
    discipline: Discipline | None = None
    overhead_bytes: Extra

    @model_validator(mode="after")
    def _one_sort(self) -> LinkPreset:
        wire, air = (self.down, self.up), (self.phy, self.channel_access, self.aggregation)
        if (None in wire) == (None in air) or any(wire) == any(air):
            raise PydanticCustomError(
                "sort", "give down and up, or phy, channel_access and aggregation"
            )
        return self

    @property
    def figures(self) -> list[Figure]:
        """Every number that it has."""
        return [value for _, value in self if isinstance(value, Figure)]


def preset_names() -> list[str]:
    """What ``simfl list links`` shows."""
    return resources.names(FOLDER)


def load_preset(name: str, folder: Path = Path()) -> LinkPreset:
    """The preset of a packaged name, or of a YAML file.

    Args:
        name: the name, or a path that ends in ``.yaml``.
        folder: what that path is relative to.

    Raises:
        CostError: no such preset, or a file that is none; file, line and key are named.
    """
    path = resources.find(FOLDER, name)
    if path is None:
        raise CostError(f"unknown link preset '{name}'; {did_you_mean(name, preset_names())}")
    try:
        return read(LinkPreset, folder / path, "give a link file or a name of simfl list links")
    except ScenarioError as error:
        raise CostError(str(error)) from error
