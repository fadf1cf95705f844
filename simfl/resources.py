"""Files that travel with simfl: scenarios and device models, in a checkout or in the wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(kind: str) -> Path:
    """The folder of packaged files: ``scenarios`` or ``device_models``."""
    packed = _PACKAGE / "_data" / kind
    return packed if packed.is_dir() else _PACKAGE.parent / kind


def names(kind: str) -> list[str]:
    """Names of the packaged files, without their ending, sorted; ``smoke/x`` for a subfolder."""
    root = folder(kind)
    return sorted(str(p.relative_to(root).with_suffix("")) for p in root.rglob("*.yaml"))


def find(kind: str, name: str) -> Path | None:
    """The file that a person means: a path as written, else a packaged name; None if neither."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    packed = folder(kind) / f"{name}.yaml"
    return packed if packed.is_file() else None
