"""What a person may write: strict, frozen pydantic models, and fields that carry a unit."""

import re
from functools import cache
from inspect import cleandoc
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from simfl import units


@cache
def attributes_of(model: type[BaseModel]) -> dict[str, str]:
    """What its docstring, and those of its bases, say of its fields, on one line each.

    >>> attributes_of(Shorthand)["shorthand"]
    'the key that text alone stands for.'
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        _, _, section = cleandoc(vars(base).get("__doc__") or "").partition("\nAttributes:\n")
        entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.MULTILINE)
        found |= {name: " ".join(text.split()).replace("``", "") for name, text in entries}
    return found


def described(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """A JSON Schema in which each field has its own description."""
    summary, _, _ = cleandoc(vars(model).get("__doc__") or "").partition("\n\nAttributes:\n")
    if summary:
        schema["description"] = summary
    told = attributes_of(model)
    for name, field in schema.get("properties", {}).items():
        if name in told:
            unit = field.get("description")
            field["description"] = f"{told[name].rstrip('.')}; {unit}" if unit else told[name]


class Options(BaseModel):
    """The base of everything that stands in a scenario: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, json_schema_extra=described)


class Shorthand(Options):
    """Options for which text alone can stand.

    Attributes:
        shorthand: the key that text alone stands for.
    """

    shorthand: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, data: object) -> object:
        return {cls.shorthand: data} if isinstance(data, str) else data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core)
        whole = handler.resolve_ref_schema(schema)
        mapping = dict(whole)
        whole.clear()
        whole.update({"anyOf": [{"type": "string"}, mapping]})
        return schema


def _quantity(
    dimension: str, *, zero: bool = False
) -> tuple[BeforeValidator, PlainSerializer, WithJsonSchema]:
    word = units.WORDS.get(dimension, dimension)

    def read(value: object) -> float:
        number = units.parse(value, dimension)
        if number < 0 or (number == 0 and not zero):
            bound = "of at least 0" if zero else "above 0"
            raise ValueError(f"'{value}' is out of range; give a {word} {bound}")
        return number

    def write(value: float) -> str:
        return units.exact(value, dimension)

    example = units.EXAMPLES[dimension]
    schema: dict[str, Any] = {
        "type": "string",
        "pattern": r"^\s*[0-9][0-9_.eE+-]*\s*\S+\s*$",
        "description": f"a {word} with its unit, e.g. {example}",
        "examples": [example],
    }
    return BeforeValidator(read), PlainSerializer(write), WithJsonSchema(schema)


Duration = Annotated[float, *_quantity("time", zero=True)]
"""A time of at least zero, in seconds."""
PositiveDuration = Annotated[float, *_quantity("time")]
"""A time above zero, in seconds."""
Rate = Annotated[float, *_quantity("rate")]
"""A link rate above zero, in bits per second."""
Size = Annotated[float, *_quantity("size")]
"""A size above zero, in bytes."""
ComputeRate = Annotated[float, *_quantity("compute")]
"""A computing rate above zero, in FLOP per second."""
Throughput = Annotated[float, *_quantity("throughput")]
"""A memory rate above zero, here in bytes per second."""
Power = Annotated[float, *_quantity("power", zero=True)]
"""A power of at least zero, in watts."""
Energy = Annotated[float, *_quantity("energy")]
"""An energy above zero, in joules."""
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
