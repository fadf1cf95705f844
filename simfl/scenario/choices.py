"""What a scenario chooses by name: plug-ins, each with its own options beside the name.

A plug-in's options are checked against the model that it registered.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from simfl import registry as plugins
from simfl.errors import did_you_mean
from simfl.options import Options, described


class Plugged(BaseModel):
    """A plug-in, with its own options beside the key that says which.

    Attributes:
        tag: that key.
    """

    model_config = ConfigDict(frozen=True, extra="allow", json_schema_extra=described)

    registry: ClassVar[plugins.Registry[Any]]
    tag: ClassVar[str]

    options: SerializeAsAny[BaseModel] = Field(default_factory=Options, exclude=True)

    def plugin(self) -> plugins.Plugin[Any]:
        """The registered plug-in of this name."""
        return self.registry.get(getattr(self, self.tag))

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: object) -> object:
        """Turn ``{name, ...options}`` into the name and its checked options."""
        if not isinstance(data, dict) or not isinstance(data.get(cls.tag), str):
            return data
        kind, name = cls.registry, data[cls.tag]
        if name not in kind.names():
            mend = did_you_mean(name, kind.names())
            raise fault((cls.tag,), f"unknown {kind.kind} '{name}'; {mend}")
        own = {key for key in cls.model_fields if key != "options"}
        mine = {key: value for key, value in data.items() if key in own}
        rest = {key: value for key, value in data.items() if key not in own}
        options = kind.get(name).options.model_validate(rest)
        return mine | {"options": options}

    def written(self) -> dict[str, Any]:
        """Name and every option, defaults included, as they would stand in YAML."""
        return self.model_dump(mode="json") | self.options.model_dump(mode="json")


class Named(Plugged):
    """A plug-in by its name."""

    tag: ClassVar[str] = "name"

    name: str


class Short(Named):
    """A plug-in for which a name alone can stand, with its defaults."""

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, data: object) -> object:
        return {"name": data} if isinstance(data, str) else data


def fault(where: tuple[str, ...], message: str) -> ValidationError:
    """A mistake found in one key by looking at others."""
    details = InitErrorDetails(type=PydanticCustomError("fault", message), loc=where, input=None)
    return ValidationError.from_exception_data("scenario", [details])


class ModelChoice(Named):
    """Which model."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.MODELS


class AlgorithmChoice(Named):
    """Which algorithm."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.ALGORITHMS


class TermChoice(Named):
    """A term of the loss."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.OBJECTIVES


class CodecChoice(Named):
    """Which codec."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.CODECS


class TopologyChoice(Named):
    """Which overlay."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.TOPOLOGIES


class ProtocolChoice(Named):
    """Which protocol."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.PROTOCOLS


class SelectionChoice(Short):
    """How cohorts are chosen; a name alone stands for it with its defaults."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.SELECTION


class AvailabilityChoice(Short):
    """When devices are there; a name alone stands for it with its defaults."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.AVAILABILITY


class NetworkChoice(Plugged):
    """Which wires."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.NETWORKS
    tag: ClassVar[str] = "kind"

    kind: str

    def written(self) -> dict[str, Any]:
        """Kind and options; what is left out is left out again."""
        options = self.options.model_dump(mode="json", exclude_none=True)
        return self.model_dump(mode="json") | options


class PartitionChoice(Short):
    """How the training samples are dealt out; a name alone stands for it with its defaults."""

    registry: ClassVar[plugins.Registry[Any]] = plugins.PARTITIONS


Number = Annotated[float, Field(allow_inf_nan=False)]


class Normalize(Options):
    """Images less the mean, by the standard deviation, after their values are put into [0, 1].

    Attributes:
        mean: one number for each channel, or one for all.
        std: likewise, each above 0.
    """

    mean: Annotated[list[Number], Field(min_length=1)]
    std: Annotated[list[Annotated[Number, Field(gt=0)]], Field(min_length=1)]


class DatasetChoice(Named):
    """The data, how it is dealt out, and what stands in where it cannot be had.

    Attributes:
        fallback: used, said aloud and recorded, when no data folder is named and none is found.
        normalize: left out, models see values in [0, 1].
    """

    registry: ClassVar[plugins.Registry[Any]] = plugins.DATASETS

    fallback: str | None = None
    partition: PartitionChoice = Field(
        default_factory=lambda: PartitionChoice.model_validate("iid")
    )
    normalize: Normalize | None = None

    @field_validator("fallback")
    @classmethod
    def _stands_in(cls, name: str | None) -> str | None:
        if name is not None and name not in plugins.DATASETS.names():
            mend = did_you_mean(name, plugins.DATASETS.names())
            raise PydanticCustomError("unknown_name", f"unknown data set '{name}'; {mend}")
        if name is not None and plugins.DATASETS.get(name).needs_options:
            message = f"'{name}' has options of its own; name one without, such as digits"
            raise PydanticCustomError("needs_options", message)
        return name

    def written(self) -> dict[str, Any]:
        """Name, options, and how it is dealt out."""
        return super().written() | {"partition": self.partition.written()}
