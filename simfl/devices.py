"""Device models by name or file, and what a person should know of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from simfl import resources
from simfl.cost.device import Device
from simfl.cost.population import Population
from simfl.errors import CostError, ScenarioError, did_you_mean
from simfl.strict import read_as

_POPULATIONS: Final = "device_models/populations"
_MEND: Final = "give a device file or a name of simfl list devices"


def device_names() -> list[str]:
    """The packaged device models, populations last."""
    return [*resources.names("device_models"), *resources.names(_POPULATIONS)]


def load_device(name: str) -> Device:
    """The device of a packaged name, or of a YAML file.

    Raises:
        CostError: no such device, or a file that is not a device; file, line and key are named.
    """
    found = load_group(name)
    if isinstance(found, Population):
        raise CostError(f"'{found.name}' is a population, not one device; name it in a scenario")
    return found


def load_group(name: str) -> Device | Population:
    """What a group of a scenario may consist of: a device, or a population of them.

    Raises:
        CostError: no such device, or a file that is neither; file, line and key are named.
    """
    path = resources.find("device_models", name) or resources.find(_POPULATIONS, name)
    if path is None:
        raise CostError(f"unknown device '{name}'; {did_you_mean(name, device_names())}")
    try:
        found = read_as(_sort, path, _MEND)
    except ScenarioError as error:
        raise CostError(str(error)) from error
    return found.at(path.parent) if isinstance(found, Population) else found


def _sort(data: object) -> type[Device] | type[Population]:
    """A population has no cost of its own, and a rule for training."""
    return Population if isinstance(data, dict) and "training" in data else Device


def notes(groups: Iterable[Device | Population]) -> tuple[str, ...]:
    """One line for each device model that is not to be taken at its word."""
    found: dict[str, str] = {}
    for group in groups:
        if isinstance(group, Population):
            found[group.name] = f"{group.name}: {' '.join(group.note.split())}"
        elif group.evidence.rough:
            about = group.evidence
            found[group.name] = (
                f"{group.name}: nothing behind its times was measured on it ({about.grade}); one "
                f"time in three they are off by more than a factor of {about.factor:.1f}"
            )
    return tuple(found.values())
