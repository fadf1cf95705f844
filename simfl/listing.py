"""Lists of what a scenario can name; nothing heavy is imported for them."""

from __future__ import annotations

import ast
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simfl import registry, resources
from simfl.cost.figures import GRADES
from simfl.cost.preset import load_preset, preset_names
from simfl.device_listing import show_devices
from simfl.units import exact, show_seconds


def show_list(console: Console, kind: str) -> None:
    """Names and one line each; of links a table of their figures."""
    if kind == "links":
        console.print(_links())
        return
    if kind == "devices":
        show_devices(console)
        return
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in _described(kind):
        table.add_row(name, Text(text))
    console.print(table)


def _described(kind: str) -> list[tuple[str, str]]:
    if kind == "scenarios":
        root = resources.folder("scenarios")
        return [(n, _comment(root / f"{n}.yaml")) for n in resources.names("scenarios")]
    registries = {
        "models": registry.MODELS,
        "algorithms": registry.ALGORITHMS,
        "objectives": registry.OBJECTIVES,
        "codecs": registry.CODECS,
        "datasets": registry.DATASETS,
        "partitions": registry.PARTITIONS,
        "topologies": registry.TOPOLOGIES,
        "protocols": registry.PROTOCOLS,
        "selection": registry.SELECTION,
        "availability": registry.AVAILABILITY,
        "networks": registry.NETWORKS,
    }
    folder = Path(__file__).parent / kind
    return [(n, _docstring(folder / f"{n}.py")) for n in registries[kind].names()]


def _links() -> Table:
    """Link presets: rates, latency, loss, and how their figures are known."""
    table = Table(box=None)
    for head in ("link", "down", "up", "latency", "loss", "rates are", "assumed"):
        right = head in ("down", "up", "latency", "loss")
        table.add_column(head, no_wrap=True, justify="right" if right else "left")
    for name in preset_names():
        preset = load_preset(name)
        rates = [way for way in (preset.phy, preset.down, preset.up) if way]
        shown = [exact(rate.value, "rate") for rate in rates]
        # a radio has one rate, while it holds the air that all share
        shown += ["on air"] * (2 - len(shown))
        latency = show_seconds(preset.latency.value)
        loss = f"{preset.loss.value:g}" if preset.loss else "0"
        assumed = [figure for figure in preset.figures if figure.kind == "assumed"]
        doubt = f"{len(assumed)} of {len(preset.figures)}"
        kind = max((rate.kind for rate in rates), key=GRADES.index)
        table.add_row(Text(name, "bold"), *map(Text, (*shown, latency, loss, kind, doubt)))
    return table


def _docstring(path: Path) -> str:
    """The first line of a module's docstring, the module not imported."""
    if not path.is_file():
        return ""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def _comment(path: Path) -> str:
    """The first comment of a scenario that is not for its editor."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "yaml-language-server" not in line:
            return line.lstrip("# ")
    return ""
