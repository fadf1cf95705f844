"""YAML to pydantic models, strictly: every error names file, line, path, and the mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from simfl.errors import ScenarioError, SimflError, did_you_mean

Where = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

# a union's kind stands in pydantic's path to a key, but not in the file's
_UNION_TAGS: Final = frozenset({"shared_medium", "access_links"})
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
        lines = [
            f"{place(where)}: {'.'.join(map(str, where)) or 'file'}: {_message(item, where, owner)}"
            for where, item, owner in _mistakes(error, model, ())
        ]
        raise ScenarioError("\n".join(dict.fromkeys(lines))) from None
    except SimflError as error:
        raise ScenarioError(f"{place(())}: {error}") from error


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
        raise ScenarioError(f"{source}:{line}: not YAML: {problem}; check indentation, colons and "
                            "quotes there") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{source}:1: not YAML: {' '.join(str(error).split())}; "
                            "save it as UTF-8 text") from error
    lines: dict[Where, int] = {(): 1}
    if node is not None:
        _walk(node, (), lines, source)
    return data, lines


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


def _mistakes(
    error: ValidationError, model: type[BaseModel], prefix: Where
) -> Iterator[tuple[Where, dict[str, Any], type[BaseModel]]]:
    """Every mistake with its path in the file and the model whose key it is.

    A plug-in's options are checked by a model of their own, inside a validator: its error arrives
    wrapped in another, and is unwrapped here.
    """
    for details in error.errors():
        item: dict[str, Any] = dict(details)
        where = prefix + tuple(p for p in item["loc"] if p not in _UNION_TAGS)
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            owner = item["input"].get("name") if isinstance(item["input"], dict) else None
            choice = _model_at(model, where)
            options = choice
            registry = getattr(choice, "registry", None)
            if registry is not None and owner in registry().names():
                options = registry().get(owner).options
            yield from _mistakes(inner, options, where)
        else:
            yield where, item, _model_at(model, where[len(prefix) : -1])


def _model_at(model: type[BaseModel], where: Where) -> type[BaseModel]:
    """The model that holds the keys at a path; of a union of kinds, the first."""
    for part in where:
        info = model.model_fields.get(str(part))
        found = _models(info.annotation) if info else []
        model = found[0] if found else model
    return model


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]


def _message(item: dict[str, Any], where: Where, owner: type[BaseModel]) -> str:
    """What is wrong and the mend, in simfl's words rather than pydantic's."""
    kind, found, context = item["type"], item.get("input"), item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {did_you_mean(str(where[-1]), owner.model_fields)}"
    if kind in ("missing", "union_tag_not_found"):
        return "missing; add this key"
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"{found!r} is out of range; give a value {word} {context[bound]}"
    if kind == "literal_error":
        return f"{found!r} is not known here; use {context['expected']}"
    if kind == "union_tag_invalid":
        return f"unknown kind {context['tag']!r}; use {context['expected_tags']}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"{found!r} is not a mapping; write its keys below it"
    if kind.endswith(("_type", "_parsing")):
        return f"{found!r} has the wrong type; {item['msg'].removeprefix('Input should be ')} is due"
    return str(item["msg"])
