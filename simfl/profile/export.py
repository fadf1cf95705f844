"""The measuring parts as one file for a board: Python and PyTorch are all that it needs there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PARTS: Final = ("cases", "timing", "bench")
_FUTURE: Final = "from __future__ import annotations\n"


def script() -> str:
    """`cases`, `timing` and `bench` one after the other, without their imports of each other."""
    here = Path(__file__).parent
    title, parts = "", []
    for part in _PARTS:
        text = (here / f"{part}.py").read_text(encoding="utf-8")
        title, body = text.split(_FUTURE, 1)
        lines = [line for line in body.splitlines() if not line.startswith("from simfl.")]
        parts.append("\n".join(lines).strip())
    return "\n\n\n".join([f"{title}{_FUTURE}", *parts]) + "\n"
