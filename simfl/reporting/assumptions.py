"""Every figure that a run's seconds and joules rest on, with how it is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd
import yaml

from simfl import resources
from simfl.record import Trace
from simfl.reporting.blocks import Column, Table

_ORDER: Final = {"assumed": 0, "scenario": 1, "derived": 2, "spec": 3, "measured": 4}
_MOST: Final = 400
_COLUMNS: Final = ("of", "figure", "value", "kind", "source", "note")


def assumptions(trace: Trace) -> pd.DataFrame:
    """The figures of the run's devices and link presets, and what the scenario says of its network.

    Devices are those of the trace; presets are the files as they are installed now.

    Returns:
        Columns ``of``, ``figure``, ``value``, ``kind``, ``source`` and ``note``; what is assumed
        comes first.
    """
    devices = json.loads(trace.attributes.get("devices", "{}"))
    network = yaml.safe_load(trace.scenario)["platform"]["network"]
    rows: list[tuple[str, ...]] = []
    named = set(_presets(network))
    for device in devices.values():
        rows += _figures(device["name"], "", device)
        named |= {access["value"]} if (access := device.get("access")) else set()
    for name in sorted(named):
        path = resources.find("device_models/links", name)
        if path is not None and path.is_file():
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
            rows += _figures(f"link {name}", "", found)
    rows += [
        ("network", key, str(value), "scenario", "given in the scenario, or its default", "")
        for key, value in _leaves("", network)
    ]
    frame = pd.DataFrame(list(dict.fromkeys(rows)), columns=list(_COLUMNS))
    return frame.sort_values("kind", key=lambda kind: kind.map(_ORDER), kind="stable")


def assumptions_table(runs: Mapping[str, Trace]) -> Table:
    """Of all runs together, each figure once."""
    frame = pd.concat([assumptions(trace) for trace in runs.values()]).drop_duplicates()
    frame = frame.sort_values("kind", key=lambda kind: kind.map(_ORDER), kind="stable")
    says = (
        "What seconds and joules rest on. Devices as the traces have them; link presets as they "
        "are installed now. “assumed” is a guess with a reason, “derived” is arithmetic on cited "
        "figures."
    )
    if len(frame) > _MOST:
        says += f" {_MOST} of {len(frame):,} are shown."
    return Table(
        title="Assumptions and sources",
        says=says,
        file="assumptions",
        frame=frame.head(_MOST),
        columns={name: Column(head=name) for name in _COLUMNS},
    )


def _figures(of: str, key: str, found: Any) -> Iterator[tuple[str, ...]]:
    """What has a value, a kind and a source, at any depth."""
    if isinstance(found, dict) and {"value", "kind", "source"} <= set(found):
        note = str(found.get("note") or "")
        if found.get("log_sd"):
            note = f"{note}{'; ' if note else ''}log sd {found['log_sd']:g}"
        source = str(found["source"])
        yield of, key, str(found["value"]), str(found["kind"]), source, note
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from _figures(of, f"{key}.{name}".lstrip("."), value)
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from _figures(of, f"{key}[{number}]", value)


def _presets(network: Any) -> Iterator[str]:
    """The names behind every ``preset``."""
    if isinstance(network, dict):
        for key, value in network.items():
            if key == "preset" and isinstance(value, str):
                yield value
            yield from _presets(value)


def _leaves(key: str, found: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(found, dict):
        for name, value in found.items():
            yield from _leaves(f"{key}.{name}".lstrip("."), value)
    else:
        yield key, found
