"""A YAML file to a Scenario."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from simfl.errors import ScenarioError
from simfl.scenario.override import Override
from simfl.scenario.schema import Scenario
from simfl.strict import Where, line_of, parse_yaml, validate


def load(path: Path, overrides: Iterable[str | Override] = ()) -> Scenario:
    """Read a scenario file.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` texts, applied in order.

    Raises:
        ScenarioError: unreadable, not YAML, or not a valid scenario.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path}: not text ({error.reason} at byte {error.start}); give a YAML scenario"
        ) from error
    except OSError as error:
        raise ScenarioError(
            f"{path}: {error.strerror}; give the path or the name of a scenario "
            "(simfl list scenarios)"
        ) from error
    return loads(text, str(path), overrides, folder=path.parent)


def loads(
    text: str,
    source: str = "scenario",
    overrides: Iterable[str | Override] = (),
    *,
    folder: Path = Path(),
) -> Scenario:
    """Read a scenario from text.

    Args:
        text: YAML.
        source: what errors call it.
        overrides: as in `load`.
        folder: what the paths in it are relative to.

    Raises:
        ScenarioError: not YAML, or not a valid scenario.
    """
    data, lines = _parsed(text, source)
    if not isinstance(data, dict):
        raise ScenarioError(f"{source}:1: not a mapping; a scenario starts with 'name: ...'")
    applied = [Override.parse(item) if isinstance(item, str) else item for item in overrides]
    data = _unshared(data)
    for override in applied:
        override.apply(data)

    def place(where: Where) -> str:
        for override in reversed(applied):
            if where[: len(override.path)] == override.path:
                return override.text
        return f"{source}:{line_of(where, lines)}"

    try:
        scenario = validate(Scenario, data, place)
    except ScenarioError as error:
        for override in applied:
            _suggest_replacing(override, str(error))
        raise
    scenario._place = place
    scenario._folder = folder
    return scenario


# a study reads one text at each of its points; what is kept is not changed, but copied
_parsed = lru_cache(maxsize=4)(parse_yaml)


def _suggest_replacing(override: Override, message: str) -> None:
    """Another plug-in's name beside the options of the one before: say how to replace both.

    Raises:
        ScenarioError: that is what happened.
    """
    choice = ".".join(override.path[:-1])
    key = override.path[-1]
    odd = "unknown key" in message or "missing; add this key" in message
    if key in ("name", "kind") and odd and f" {choice}." in message:
        raise ScenarioError(
            f"{override.text}: the options beside the {key} are those of another; replace them "
            f"all: {choice}='{{{key}: {override.value}}}'"
        )


def _unshared(data: Any) -> Any:
    """A copy in which what YAML's aliases share is separate, so that an override changes one."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(value) for value in data] if isinstance(data, list) else data
