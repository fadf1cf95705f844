"""YAML to pydantic models, strictly: every error names file, line, path, and the mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from simfl.errors import ScenarioError, SimflError, did_you_mean

Where = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_QUOTE: Final = "'"
_BOUNDS: Final = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def validate(model: type[M], data: object, place: Callable[[Where], str]) -> M:
    """Data to a model.

    Args:
        model: the pydantic model.
        data: what was read.
        place: from a path of keys to where a person finds it, such as ``file:line``.

    Raises:
        ScenarioError: one line per mistake.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            keys = _keys_at(model, data, item["loc"][:-1])
            where = _as_written(item["loc"], data)
            path = ".".join(map(str, where)) or "file"
            lines.append(f"{place(where)}: {path}: {_message(dict(item), where, keys)}")
        raise ScenarioError("\n".join(dict.fromkeys(lines))) from None
    except SimflError as error:
        raise ScenarioError(f"{place(())}: {error}") from error


def read(model: type[M], path: Path, mend: str) -> M:
    """A YAML file to a model; see `read_as`."""
    return read_as(lambda _: model, path, mend)


def read_as(choose: Callable[[object], type[M]], path: Path, mend: str) -> M:
    """A YAML file to the model that its data asks for.

    Args:
        choose: from the data to the pydantic model.
        path: the file.
        mend: what to do where it cannot be read.

    Raises:
        ScenarioError: it cannot be, or is no such model; file, line and key are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ScenarioError(f"{path}: {reason}; {mend}") from error
    data, lines = _parsed(text, str(path))
    return validate(choose(data), data, lambda where: f"{path}:{line_of(where, lines)}")


def line_of(where: Where, lines: dict[Where, int]) -> int:
    """The line of a key, or of the nearest key above it."""
    while where not in lines:
        where = where[:-1]
    return lines[where]


def parse_yaml(text: str, source: str) -> tuple[Any, dict[Where, int]]:
    """YAML to plain data, and the line of every key.

    Raises:
        ScenarioError: not YAML, or a key that stands twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = (error.problem or "not YAML").replace("\t", "\\t")
        raise ScenarioError(
            f"{source}:{line}: not YAML: {problem}; check indentation, colons and quotes there"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScenarioError(
            f"{source}:1: not YAML: {' '.join(str(error).split())}; check dates, tags and "
            "aliases, and save it as UTF-8 text"
        ) from error
    lines: dict[Where, int] = {(): 1}
    if node is not None:
        try:
            _walk(node, (), lines, source)
        except RecursionError as error:
            raise ScenarioError(
                f"{source}:1: an alias that holds itself; write its keys out"
            ) from error
    return data, lines


# a study reads its device files at each of its points; what is kept is not changed
_parsed = lru_cache(maxsize=64)(parse_yaml)


def _walk(node: yaml.Node, where: Where, lines: dict[Where, int], source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                path = ".".join(map(str, (*where, name)))
                raise ScenarioError(f"{source}:{line}: {path} stands twice; remove one of the two")
            seen.add(name)
            lines[(*where, name)] = line
            _walk(value, (*where, name), lines, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*where, index)] = value.start_mark.line + 1
            _walk(value, (*where, index), lines, source)


def _as_written(where: Where, data: object) -> Where:
    """A path without the tags that pydantic puts into it, where a key chooses among models."""
    path: list[str | int] = []
    for part in where:
        tag = isinstance(data, dict) and part not in data and part in _texts(data)
        if not tag or part == where[-1]:
            path.append(part)
            inside = isinstance(data, dict) or (isinstance(data, list) and isinstance(part, int))
            data = _item(data, part) if inside else None
    return tuple(path)


def _texts(data: dict[Any, Any]) -> list[str]:
    return [value for value in data.values() if isinstance(value, str)]


def _item(data: Any, part: str | int) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError):
        return None


def _keys_at(model: type[BaseModel], data: object, where: Where) -> Iterable[str]:
    """The keys that may stand at a path of the data; a plug-in's options are among its own keys."""
    fields, choice = dict(model.model_fields), list[type[BaseModel]]()
    for part in where:
        tagged = [m for m in choice if part in _tags(m)]
        if tagged:
            fields, choice = tagged[0].model_fields, []
            continue
        info = fields.get(str(part))
        choice = _models(info.annotation) if info else []
        data = data.get(part) if isinstance(data, dict) else None
        if not choice:
            continue
        fields = dict(choice[0].model_fields)
        registry, tag = getattr(choice[0], "registry", None), getattr(choice[0], "tag", "name")
        name = data.get(tag) if isinstance(data, dict) else None
        if registry is not None and name in registry.names():
            del fields["options"], fields[tag]
            fields |= registry.get(name).options.model_fields
    return fields


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """What its key ``kind`` may say, to choose it among others."""
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]


def _message(item: dict[str, Any], where: Where, keys: Iterable[str]) -> str:
    """What is wrong and the mend, in simfl's words rather than pydantic's."""
    kind, found, context = item["type"], item.get("input"), item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {did_you_mean(str(where[-1]), keys)}"
    if kind == "missing":
        return "missing; add this key"
    if kind == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        mend = did_you_mean(str(context["tag"]), tags)
        key = str(context["discriminator"]).strip(_QUOTE)
        return f"unknown {key} '{context['tag']}'; {mend}"
    if kind == "union_tag_not_found":
        return f"no {str(context['discriminator']).strip(_QUOTE)}; add this key"
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"{found!r} is out of range; give a value {word} {context[bound]}"
    if kind == "literal_error":
        return f"{found!r} is not known here; use {context['expected']}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"{found!r} is not a mapping; write its keys below it"
    if kind.endswith(("_type", "_parsing")):
        return (
            f"{found!r} has the wrong type; "
            f"{item['msg'].removeprefix('Input should be ').replace('tuple', 'list')} is due"
        )
    return str(item["msg"])
