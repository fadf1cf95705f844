"""Device models by name or file."""

from __future__ import annotations

from simfl import resources
from simfl.cost.device import Device
from simfl.errors import CostError, ScenarioError, did_you_mean
from simfl.strict import read


def load_device(name: str) -> Device:
    """The device of a packaged name, or of a YAML file.

    Raises:
        CostError: no such device, or a file that is not a device; file, line and key are named.
    """
    path = resources.find("device_models", name)
    if path is None:
        mend = did_you_mean(name, resources.names("device_models"))
        raise CostError(f"unknown device '{name}'; {mend}")
    try:
        return read(Device, path, "give a device file or a name of simfl list devices")
    except ScenarioError as error:
        raise CostError(str(error)) from error
