"""Files that travel with simfl: scenarios and device models, in a checkout or in the wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(kind: str) -> Path:
    """The folder of packaged files: ``scenarios``, ``device_models`` or ``device_models/links``."""
    packed = _PACKAGE / "_data" / kind
    return packed if packed.is_dir() else _PACKAGE.parent / kind


def names(kind: str) -> list[str]:
    """Names of the packaged files, without their ending, sorted.

    A scenario in a subfolder is ``smoke/x``; below the device models lie other kinds.
    """
    root = folder(kind)
    files = root.rglob("*.yaml") if kind == "scenarios" else root.glob("*.yaml")
    return sorted(str(p.relative_to(root).with_suffix("")) for p in files)


def find(kind: str, name: str) -> Path | None:
    """The file that a person means: a path as written, else a packaged name; None if neither."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    packed = folder(kind) / f"{name}.yaml"
    return packed if packed.is_file() else None
