"""What can go wrong, as one tree.

    SimflError
    ├── ScenarioError        the scenario file, an override or the command line
    ├── OptionError          an option that does not fit the rest; becomes a ScenarioError
    ├── RegistryError        an unknown plug-in name, or two plug-ins of one name
    ├── DataError            a data set that is missing, truncated or not what it says it is
    ├── CostError            a device file, or a cost that cannot be computed
    │   └── DeviceMemoryError    the device cannot hold this computation
    ├── NetworkError         a transfer that has no route
    ├── ProtocolError        a protocol and a topology that do not fit
    ├── ReplayMiss           a frozen store lacks a recorded result
    └── RecordError          what a run leaves on disk, or computes with, fails: it can be resumed
        ├── TraceError           a trace that cannot be written, read or resumed
        ├── StoreError           a store that cannot be written or read
        │   └── UnseenStoreError     a shared store that this machine does not see
        └── ExecutorError        a process that computes is gone

Every message is one line: where, what was found, what was expected, and the mend.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SimflError(Exception):
    """The root of all that simfl raises on purpose; the command line prints it and exits with 2."""


class ScenarioError(SimflError):
    """The scenario (file, override or option) is wrong; the message names file, line and path."""


class OptionError(SimflError):
    """A plug-in's option does not fit the rest of the scenario.

    Args:
        option: the key, beside the plug-in's name.
        message: what is wrong, and the mend.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option
        self.message = message


class RegistryError(SimflError):
    """No plug-in has that name, or two have it."""


class DataError(SimflError):
    """A data set is missing or cannot be read."""


class CostError(SimflError):
    """A device model is wrong, or lacks the figure that a cost needs."""


class DeviceMemoryError(CostError):
    """A device cannot hold a computation; raised before any simulated second is charged for it."""


class NetworkError(SimflError):
    """Two nodes between which the network has no route."""


class ProtocolError(SimflError):
    """The protocol cannot run on these nodes or this topology."""


class ReplayMiss(SimflError):
    """A frozen store was asked for a result it does not hold."""


class RecordError(SimflError):
    """A run was stopped by the machine, not by what its scenario asks; it can be resumed."""


class TraceError(RecordError):
    """A trace cannot be written, read or resumed."""


class StoreError(RecordError):
    """A store cannot be written or read."""


class UnseenStoreError(StoreError):
    """Nobody made a shared store where this machine looks; another machine may see it."""


class ExecutorError(RecordError):
    """A process that computes was killed."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The mend for a wrong name: the nearest valid one, else the list of them.

    >>> did_you_mean("prunefll", ["fedavg", "prunefl"])
    "did you mean 'prunefl'?"
    >>> did_you_mean("zzz", ["fedavg", "prunefl"])
    'valid: fedavg, prunefl'
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"valid: {', '.join(names)}"
