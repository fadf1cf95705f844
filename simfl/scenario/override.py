"""Overrides from the command line, ``key.path=value``, and grids of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import Any

import yaml

from simfl.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Override:
    """One ``key.path=value``."""

    path: tuple[str, ...]
    value: Any
    text: str

    @classmethod
    def parse(cls, text: str) -> Override:
        """Read it; the value is YAML.

        >>> Override.parse("learning.algorithm.level=5").value
        5

        Raises:
            ScenarioError: no ``=``, an empty key, or a value that is not YAML.
        """
        key, sign, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not sign or not all(path):
            raise ScenarioError(f"{text}: not an override; write key.path=value, e.g. seed=2")
        try:
            return cls(path, yaml.safe_load(value), text)
        except (yaml.YAMLError, ValueError) as error:
            raise ScenarioError(f"{text}: the value is not YAML; quote it") from error

    @classmethod
    def of(cls, path: tuple[str, ...], value: Any) -> Override:
        """Of a value that is at hand.

        >>> Override.of(("learning", "local", "learning_rate"), 1e-5).text
        'learning.local.learning_rate=1.0e-05'
        """
        return cls(path, value, f"{'.'.join(path)}={_written(value)}")

    @classmethod
    def parse_several(cls, text: str) -> list[Override]:
        """Read ``key.path=a,b,c``: one override for each value.

        >>> [one.value for one in Override.parse_several("platform.network.rate=1 Mbit/s,5 Mbit/s")]
        ['1 Mbit/s', '5 Mbit/s']

        Raises:
            ScenarioError: as `parse`, or no value.
        """
        key, _, values = text.partition("=")
        cls.parse(f"{key}=" if "=" in text else text)
        try:
            several = cls.parse(f"{key}=[{values}]")
        except ScenarioError as error:
            raise ScenarioError(f"{text}: the values are not YAML; quote them") from error
        if not several.value:
            raise ScenarioError(f"{text}: no value; write key.path=a,b,c")
        return [cls(several.path, value, f"{key}={_written(value)}") for value in several.value]

    @property
    def shown(self) -> Any:
        """The value for tables and names: mappings and lists as they are written."""
        return _written(self.value) if isinstance(self.value, dict | list) else self.value

    def apply(self, data: dict[str, Any]) -> None:
        """Set the value in ``data``, in place.

        Raises:
            ScenarioError: a part of the path is not a mapping.
        """
        at: Any = data
        for part in self.path[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise ScenarioError(
                    f"{self.text}: '{part}' holds a value, no keys; see the scenario for the path"
                )
        at[self.path[-1]] = self.value


Point = tuple[Override, ...]


def points_of(changes: Iterable[str]) -> list[Point]:
    """The grid of ``key.path=a,b,c`` texts: every combination, the last key fastest.

    >>> [[one.value for one in point] for point in points_of(["seed=1,2", "stop.time=1 h"])]
    [[1, '1 h'], [2, '1 h']]

    Raises:
        ScenarioError: not of that form, or a key is given twice.
    """
    several = [Override.parse_several(text) for text in changes]
    paths = [overrides[0].path for overrides in several]
    for path in paths:
        if paths.count(path) > 1:
            raise ScenarioError(
                f"{'.'.join(path)}: given twice; write all its values as one, key=a,b,c"
            )
    return list(product(*several))


def _written(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=inf)
    return str(text).removesuffix("\n").removesuffix("\n...")
