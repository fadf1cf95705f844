"""The command line. Errors are one line each on standard error, and exit code 2."""

from simfl.commands import (
    checks,
    devices,
    doctor,
    inference,
    new,
    optimizing,
    report,
    runs,
    stores,
    studies,
    trace,
)
from simfl.commands.shared import app, fail
from simfl.errors import SimflError

COMMANDS = (
    *(new, runs, report, studies, optimizing, inference, trace, devices),
    *(checks, stores, doctor),
)
"""Modules whose import makes the commands known."""


def main() -> None:
    """The entry point."""
    try:
        app(standalone_mode=True)
    except SimflError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'simfl'}: {error.strerror or error}; free space or mend the path")


if __name__ == "__main__":
    main()
