"""What Tab offers: names of scenarios, of devices and of a scenario's keys; nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simfl import resources


def scenarios(incomplete: str) -> list[str]:
    """Packaged scenarios, and YAML files below the folder that is being typed."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    files = [str(path) for end in ("yaml", "yml") for path in folder.glob(f"*.{end}")]
    # so that a folder can be gone into
    files += [f"{path}/" for path in folder.glob("*/") if not path.name.startswith(".")]
    return _that_begin(incomplete, [*resources.names("scenarios"), *files])


def devices(incomplete: str) -> list[str]:
    """Packaged devices and populations."""
    kinds = ("device_models", "device_models/populations")
    return _that_begin(incomplete, [name for kind in kinds for name in resources.names(kind)])


def models(incomplete: str) -> list[str]:
    """Networks by name."""
    from simfl.registry import MODELS

    return _that_begin(incomplete, MODELS.names())


def algorithms(incomplete: str) -> list[str]:
    """Algorithms by name."""
    from simfl.registry import ALGORITHMS

    return _that_begin(incomplete, ALGORITHMS.names())


def keys(ctx: Any, incomplete: str) -> list[str]:
    """``key.path=`` of every value that the scenario has, which stands before on the line."""
    from simfl.errors import SimflError
    from simfl.strict import parse_yaml

    path = resources.find("scenarios", str(ctx.params.get("scenario") or ""))
    try:
        text = path.read_text(encoding="utf-8") if path else ""
        _, lines = parse_yaml(text, "")
    except (OSError, UnicodeDecodeError, SimflError):
        # what is wrong with it is told when it runs
        return []
    whole = {where for where in lines if all(isinstance(part, str) for part in where)}
    inner = {where[:-1] for where in lines}
    ends = [".".join(map(str, where)) for where in whole - inner]
    return _that_begin(incomplete, [f"{end}=" for end in ends if end])


def _that_begin(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
